# SPDX-License-Identifier: MIT
"""microthread: a micro-thread for each connection, in plain blocking style. With --timeouts each
request has its limit of time."""

import sys

from microthread import StreamServer, timeout
from microthread.socket import IPPROTO_TCP, TCP_NODELAY


def echo(sock, address):
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


def echo_in_time(sock, address):
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while True:
        with timeout(30):
            data = sock.recv(65536)
            if not data:
                break
            sock.sendall(data)


handler = echo_in_time if "--timeouts" in sys.argv else echo
server = StreamServer(("127.0.0.1", 0), handler, backlog=1024)
print("PORT", server.address[1], flush=True)
server.serve_forever()
