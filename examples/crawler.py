# SPDX-License-Identifier: MIT
"""Crawl a small web site with many fetchers at once: [FETCHERS]

The site is a server in this very program: 60 pages that link to each other, each slow to answer.
"""

import re
import sys
from time import perf_counter

from microthread import StreamServer, micro_pipe, sleep, socket, spawn

PAGES = 60
DELAY = 0.02  # seconds before the site answers


def site(sock, address):
    request = sock.makefile("rb")
    method, path, _ = request.readline().decode().split()
    while request.readline().strip():
        pass
    sleep(DELAY)
    page = int(path.strip("/"))
    links = {page * 2 + 1, page * 2 + 2, page // 2} if page < PAGES else set()
    body = "".join(f'<a href="/{link}">{link}</a>' for link in sorted(links) if link < PAGES)
    status = "200 OK" if page < PAGES else "404 Not Found"
    sock.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def fetch(address, path):
    """The status and the body of a page."""
    with socket.create_connection(address, timeout=30) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def crawl(address, fetchers):
    """Every path that can be reached from /0, with its links."""
    found = {"/0": None}
    todo, done = micro_pipe(), micro_pipe()

    def work():
        for path in todo:
            status, body = fetch(address, path)
            done.put((path, re.findall(r'href="([^"]+)"', body) if status == 200 else []))

    workers = [spawn(work) for _ in range(fetchers)]
    todo.put("/0")
    under_way = 1
    while under_way:
        path, links = done.take()
        under_way -= 1
        found[path] = links
        for link in links:
            if link not in found:
                found[link] = None
                todo.put(link)
                under_way += 1
    todo.close()
    for worker in workers:
        worker.wait()
    return found


if __name__ == "__main__":
    fetchers = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    server = StreamServer(("127.0.0.1", 0), site)
    server.start()
    began = perf_counter()
    pages = crawl(server.address, fetchers)
    seconds = perf_counter() - began
    server.stop()
    links = sum(map(len, pages.values()))
    print(f"{len(pages)} pages with {links} links, {fetchers} fetchers: {seconds:.2f} s; "
          f"one after the other it would take {len(pages) * DELAY:.2f} s")
