# SPDX-License-Identifier: MIT
"""Fetch many pages by requests with a pool of threads; nothing here knows microthread: [THREADS]

    python examples/crawl_requests.py                   OS threads
    python -m microthread examples/crawl_requests.py    micro-threads, in one OS thread

The site is a server in this very program: 60 pages, each slow to answer.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

PAGES = 60
DELAY = 0.05  # seconds before the site answers
THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 20


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(DELAY)
        body = f"this is page {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def fetch(number):
    answer = session.get(f"http://127.0.0.1:{server.server_port}/{number}", timeout=30)
    answer.raise_for_status()
    return answer.text


with Server(("127.0.0.1", 0), Site) as server, requests.Session() as session:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        pages = list(pool.map(fetch, range(PAGES)))
    seconds = time.perf_counter() - began
    server.shutdown()

assert pages == [f"this is page /{number}" for number in range(PAGES)]
print(f"{PAGES} pages, {THREADS} threads: {seconds:.2f} s; "
      f"one after the other it would take {PAGES * DELAY:.2f} s")
