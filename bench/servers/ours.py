# SPDX-License-Identifier: MIT
"""microthread: a micro-thread for each connection, in plain blocking style."""

from microthread import StreamServer
from microthread.socket import IPPROTO_TCP, TCP_NODELAY


def echo(sock, address):
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


server = StreamServer(("127.0.0.1", 0), echo, backlog=1024)
print("PORT", server.address[1], flush=True)
server.serve_forever()
