# SPDX-License-Identifier: MIT
"""A minimal HTTP/1.1 server on microthread, in plain blocking style; --gevent: the same on gevent."""

import sys
from socket import IPPROTO_TCP, TCP_NODELAY

from http_text import END, answer


def serve(sock, address):
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    buffer = b""
    while data := sock.recv(65536):
        buffer += data
        while (end := buffer.find(END)) >= 0:
            sock.sendall(answer(buffer[:end]))
            buffer = buffer[end + 4:]


if "--gevent" in sys.argv:
    from gevent.server import StreamServer

    server = StreamServer(("127.0.0.1", 0), serve, backlog=1024)
    server.init_socket()
    print("PORT", server.socket.getsockname()[1], flush=True)
else:
    from microthread import StreamServer

    server = StreamServer(("127.0.0.1", 0), serve, backlog=1024)
    print("PORT", server.address[1], flush=True)
server.serve_forever()
