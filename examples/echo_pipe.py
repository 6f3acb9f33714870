# SPDX-License-Identifier: MIT
"""An echo server whose reader and writer are two micro-threads, joined by a micro_pipe: [PORT]

The reader goes on reading while the writer waits for a slow client, up to 16 pieces ahead. Without
PORT it talks to itself and ends.
"""

import sys

from microthread import StreamServer, micro_pipe, socket, spawn


def read(sock, pipe):
    with pipe:
        while data := sock.recv(4096):
            pipe.put(data)


def echo(sock, address):
    pipe = micro_pipe(16)
    reader = spawn(read, sock, pipe)
    for data in pipe:
        sock.sendall(data)
    reader.wait()


def talk(address):
    with socket.create_connection(address) as sock, sock.makefile("rw", newline="\n") as lines:
        for text in ("one", "two", "three"):
            print(text, file=lines, flush=True)
            print("came back:", lines.readline().rstrip())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = StreamServer(("127.0.0.1", port), echo)
    if port:
        server.serve_forever()
    server.start()
    talk(server.address)
    server.stop()
