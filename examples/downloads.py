# SPDX-License-Identifier: MIT
"""Download many files side by side, some at a time, and all or none: [LIMIT]

The mirror is a server in this very program: slow to answer, and one file is missing on it. A Group keeps
the downloads together: when one fails the others are cancelled, and no half a file is left behind.
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter

from microthread import Group, StreamServer, sleep, socket, timeout

FILES = 40
DELAY = 0.01  # seconds before the mirror answers


def mirror(sock, address):
    """Answer "name\\n" with the file and close; an empty answer: there is no such file."""
    name = sock.makefile("r").readline().strip()
    sleep(DELAY)
    if name != "missing":
        sock.sendall(f"This is {name}.\n".encode() * 100)


def download(address, name, folder):
    """Fetch one file; returns its size. What is incomplete does not stay."""
    path = folder / name
    try:
        with timeout(30), socket.create_connection(address) as sock, path.open("wb") as file:
            sock.sendall(f"{name}\n".encode())
            while data := sock.recv(65536):
                file.write(data)
        if path.stat().st_size == 0:
            raise FileNotFoundError(name)
    except BaseException:  # Cancelled, too
        path.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def download_all(address, names, folder, limit):
    """The size of each file, in order; at most `limit` connections at once."""
    with Group(limit) as group:
        return list(group.map(lambda name: download(address, name, folder), names))


def main():
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    server = StreamServer(("127.0.0.1", 0), mirror)
    server.start()
    names = [f"file-{n}" for n in range(FILES)]
    with tempfile.TemporaryDirectory() as folder:
        begun = perf_counter()
        sizes = download_all(server.address, names, Path(folder), limit)
        seconds = perf_counter() - begun
        print(f"{len(sizes)} files, {sum(sizes)} bytes, {limit} at a time: {seconds:.2f} s; "
              f"one after the other it would take {FILES * DELAY:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        try:
            download_all(server.address, [*names[:5], "missing", *names[5:]], Path(folder), FILES)
        except* FileNotFoundError as failures:
            half = sum(path.stat().st_size % 100 > 0 for path in Path(folder).iterdir())
            print(f"not on the mirror: {', '.join(map(str, failures.exceptions))}; "
                  f"{half} files are half there")
    server.stop()


if __name__ == "__main__":
    main()
