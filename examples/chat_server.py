# SPDX-License-Identifier: MIT
"""A chat server: what one client says, all the others hear: [PORT]

Each client has a pipe and a micro-thread that sends what comes through it: nobody waits for a slow
one; one that is 100 lines behind is thrown out. Without PORT three people talk and it ends.
"""

import contextlib
import queue
import sys

from microthread import StreamServer, micro_pipe, socket, spawn

clients = {}  # name -> (its socket, the pipe of lines to send to it)


def say(line, speaker):
    for name, (sock, pipe) in list(clients.items()):
        if name != speaker:
            try:
                pipe.put_nowait(line)
            except queue.Full:
                hang_up(sock)


def hang_up(sock):
    """Both its reader and its sender end."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def send_lines(sock, pipe):
    with contextlib.suppress(OSError):  # the client has gone; its reader sees that, too
        for line in pipe:
            sock.sendall(f"{line}\n".encode())


def chat(sock, address):
    lines = sock.makefile("r", encoding="utf-8", errors="replace")
    name = lines.readline().strip()
    if not name or name in clients:
        sock.sendall(b"choose another name\n")
        return
    pipe = micro_pipe(100)
    sender = spawn(send_lines, sock, pipe)
    clients[name] = sock, pipe
    say(f"* {name} has joined", name)
    try:
        with contextlib.suppress(ConnectionError):
            for line in lines:
                say(f"{name}: {line.rstrip()}", name)
    finally:
        del clients[name]
        say(f"* {name} has left", name)
        hang_up(sock)
        pipe.close()
        sender.wait()


class Visitor:
    """A client of the demonstration."""

    def __init__(self, address, name):
        self.name = name
        self.sock = socket.create_connection(address)
        self.lines = self.sock.makefile("rw", encoding="utf-8", newline="\n")
        self.say(name)

    def say(self, text):
        print(text, file=self.lines, flush=True)

    def hear(self):
        print(f"{self.name} hears: {self.lines.readline().rstrip()}")

    def leave(self):
        self.lines.close()
        self.sock.close()


def demonstrate(address):
    ann = Visitor(address, "Ann")
    bob = Visitor(address, "Bob")
    ann.hear()  # Bob has joined
    cem = Visitor(address, "Cem")
    ann.hear()
    bob.hear()  # Cem has joined
    ann.say("hello")
    bob.hear()
    cem.hear()
    bob.leave()
    ann.hear()
    cem.hear()  # Bob has left
    ann.leave()
    cem.leave()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = StreamServer(("127.0.0.1", port), chat)
    if port:
        server.serve_forever()
    server.start()
    demonstrate(server.address)
    server.stop()
