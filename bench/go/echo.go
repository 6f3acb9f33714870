// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"net"
)

// A goroutine for each connection; the net package sets TCP_NODELAY itself.
func echo() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println("PORT", listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go func() {
			defer connection.Close()
			buffer := make([]byte, 65536)
			for {
				n, err := connection.Read(buffer)
				if err != nil {
					return
				}
				if _, err = connection.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}
