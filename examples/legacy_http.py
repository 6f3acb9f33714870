# SPDX-License-Identifier: MIT
"""A web server and its clients as they were always written, with threads; nothing here knows microthread.

    python examples/legacy_http.py                   one OS thread for each connection
    python -m microthread examples/legacy_http.py    one micro-thread for each
"""

import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(0.01)  # as if it asked a database
        body = f"{self.path} by {threading.current_thread().name}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def fetch(number):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=30) as answer:
        return answer.status, answer.read().decode()


with Server(("127.0.0.1", 0), Handler) as server:
    port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with ThreadPoolExecutor(max_workers=CLIENTS) as pool:
        answers = list(pool.map(fetch, range(CLIENTS)))
    server.shutdown()

assert [(200, f"/{i}") for i in range(CLIENTS)] == [(s, t.split()[0]) for s, t in answers]
assert len({text.split(" by ")[1] for _, text in answers}) == CLIENTS
print(f"{len(answers)} answers")
