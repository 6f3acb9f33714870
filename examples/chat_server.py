# SPDX-License-Identifier: MIT
"""A chat server: what one client says, all the others hear: [PORT]

Each client has a pipe and a micro-thread that sends what comes through it, so nobody waits for a slow
one; one that is 100 lines behind is thrown out. Without PORT three people talk and it ends.
"""

import queue
import sys

from microthread import StreamServer, micro_pipe, socket, spawn

clients = {}  # name -> pipe of lines to send


def say(line, speaker):
    for name, pipe in list(clients.items()):
        if name != speaker:
            try:
                pipe.put_nowait(line)
            except queue.Full:
                pipe.close()  # its sender ends, and with it the connection


def send_lines(sock, pipe):
    try:
        for line in pipe:
            sock.sendall(f"{line}\n".encode())
        sock.shutdown(socket.SHUT_RDWR)  # ends the reader, too
    except OSError:
        pipe.close()  # the client has gone; the reader sees that by itself


def chat(sock, address):
    lines = sock.makefile("r", encoding="utf-8", errors="replace")
    name = lines.readline().strip()
    if not name or name in clients:
        sock.sendall(b"choose another name\n")
        return
    pipe = clients[name] = micro_pipe(100)
    sender = spawn(send_lines, sock, pipe)
    say(f"* {name} has joined", name)
    try:
        for line in lines:
            say(f"{name}: {line.rstrip()}", name)
    except ConnectionError:
        pass
    finally:
        del clients[name]
        say(f"* {name} has left", name)
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
