# SPDX-License-Identifier: MIT
"""gunicorn with one worker of the class that the argument names, and a WSGI application of one line."""

import sys

from gunicorn.app.base import BaseApplication


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "64")])
    return [b"." * 64]


def tell(worker):
    print("PORT", worker.sockets[0].getsockname()[1], worker.pid, flush=True)


class Server(BaseApplication):
    def load_config(self):
        for name, value in (("bind", "127.0.0.1:0"), ("worker_class", sys.argv[1]), ("workers", 1),
                            ("keepalive", 10), ("loglevel", "error"), ("post_worker_init", tell)):
            self.cfg.set(name, value)

    def load(self):
        return application


Server().run()
