# SPDX-License-Identifier: MIT
"""TLS echo: a client in a process of its own sends messages, a server of blocking code sends them back."""

import os
import threading
import time

from harness.peers import OURS

TITLE = "TLS echo: CPU time of the server, one message of 64 B"
NOTE = ("The client is a process that uses the standard library; its handshakes are not counted. The peer is the "
        "standard library in one OS thread for each connection. The names are the number of connections.")
UNIT = "µs"
CASES = {"1": {"connections": 1}, "10": {"connections": 10}}
START = 2000
MESSAGE = b"x" * 64
PEM = os.path.join(os.path.dirname(__file__), "../../tests/python/data/localhost.pem")


def client(port, connections, rounds):
    import socket
    import ssl

    context = ssl.create_default_context(cafile=PEM)
    socks = [context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
             for _ in range(connections)]
    for _ in range(rounds):
        for sock in socks:
            sock.sendall(MESSAGE)
        for sock in socks:
            left = len(MESSAGE)
            while left:
                left -= len(sock.recv(left))
    for sock in socks:
        sock.close()


def measure(count, connections, socket, ssl, start):
    """CPU seconds of the server; start(fn, *args) returns what waits for the call."""
    rounds = count // connections
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if not child:
        status = 1
        try:
            client(listener.getsockname()[1], connections, rounds)
            status = 0
        finally:
            os._exit(status)
    socks = [context.wrap_socket(listener.accept()[0], server_side=True) for _ in range(connections)]

    def serve(sock):
        while data := sock.recv(65536):
            sock.sendall(data)

    begun = time.process_time()
    for wait in [start(serve, sock) for sock in socks]:
        wait()
    used = time.process_time() - begun
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the client failed")
    return used, rounds * connections


def ours(count, connections):
    import microthread

    return measure(count, connections, microthread.socket, microthread.ssl,
                   lambda *args: microthread.spawn(*args).wait)


def os_threads(count, connections):
    import socket
    import ssl

    def start(*args):
        thread = threading.Thread(target=args[0], args=args[1:])
        thread.start()
        return thread.join

    return measure(count, connections, socket, ssl, start)


PEERS = {OURS: ours, "threads": os_threads}
