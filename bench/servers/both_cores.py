# SPDX-License-Identifier: MIT
"""microthread on two cores and one port (SO_REUSEPORT): two interpreters, or --processes, which are two
forked ones with one interpreter each. Prints the port, and the processes that do the work."""

import os
import signal
import sys

from microthread import StreamServer, socket, spawn, wait_readable

HOST = "127.0.0.1"


def echo(sock, address):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(65536):
        sock.sendall(data)


def serve(port, ready):
    server = StreamServer((HOST, port), echo, backlog=1024, reuse_port=True)
    os.write(ready, b"r")
    server.serve_forever()


def take_port():
    """A socket that keeps a port for those who will listen on it, and never listens itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, 0))
    return sock


def run_processes(port, ready):
    parent_lives, parent = os.pipe()
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            os.close(parent)
            spawn(lambda: (wait_readable(parent_lives), os._exit(0)))  # when the parent ends, however
            serve(port, ready)
        pids.append(pid)
    return pids


def run_interpreters(port, ready):
    from microthread.interpreters import create

    for _ in range(2):
        create().spawn(serve, port, ready)
    return [os.getpid()]


def main():
    os.sched_setaffinity(0, range(os.cpu_count()))
    placeholder = take_port()
    port = placeholder.getsockname()[1]
    is_ready, ready = os.pipe()
    run = run_processes if "--processes" in sys.argv else run_interpreters
    pids = run(port, ready)
    for _ in range(2):
        wait_readable(is_ready)
        os.read(is_ready, 1)
    print("PORT", port, *pids, flush=True)
    signal.pause()


main()
