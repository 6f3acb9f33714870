# SPDX-License-Identifier: MIT
"""An echo server in plain blocking style, a micro-thread for each connection: [PORT]"""

import sys

from microthread import StreamServer


def echo(sock, address):
    while data := sock.recv(65536):
        sock.sendall(data)


server = StreamServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), echo)
print(f"listening on 127.0.0.1 port {server.address[1]}", flush=True)
server.serve_forever()
