# SPDX-License-Identifier: MIT
"""gevent: the same, a greenlet for each connection."""

from socket import IPPROTO_TCP, TCP_NODELAY

from gevent.server import StreamServer


def echo(sock, address):
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


server = StreamServer(("127.0.0.1", 0), echo, backlog=1024)
server.start()
print("PORT", server.server_port, flush=True)
server.serve_forever()
