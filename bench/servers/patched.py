# SPDX-License-Identifier: MIT
"""The standard library's socket and threading, patched: a thread for each connection."""

from microthread import patch

patch.all()

import socket  # noqa: E402  patched first
import threading  # noqa: E402


def echo(sock):
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := sock.recv(65536):
            sock.sendall(data)


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print("PORT", listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
