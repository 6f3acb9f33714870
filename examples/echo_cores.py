# SPDX-License-Identifier: MIT
"""An echo server on all cores: one in each interpreter, on the same port.

    echo_cores.py [PORT [INTERPRETERS [SECONDS]]]

The kernel deals the connections out (SO_REUSEPORT). Ctrl-C and SIGTERM end it: what is connected has
so many seconds, or five, to finish.
"""
import os
import signal
import sys

from microthread import StreamServer, interpreters, wait_all


def echo(sock, address):
    while data := sock.recv(65536):
        sock.sendall(data)


def serve(address, ready, stop, seconds):
    server = StreamServer(address, echo, reuse_port=True)
    server.start()
    ready.send(server.address)
    for _ in stop:  # nothing comes; it ends when the other end is closed
        pass
    server.stop(timeout=seconds)


def main(port=0, count=os.cpu_count() or 1, seconds=5):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ready, ready_in = interpreters.create_channel()
    stop, stop_in = interpreters.create_channel()
    servers = []
    try:
        for _ in range(count):
            server = interpreters.create().spawn(serve, ("127.0.0.1", port), ready_in, stop, seconds)
            servers.append(server)
            port = ready.recv()[1]
        print(f"listening on 127.0.0.1 with {count} interpreters, port {port}", flush=True)
        wait_all(servers)
    except KeyboardInterrupt:
        pass
    finally:
        stop_in.close()
    wait_all(servers)
    print("all connections are closed")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
