# SPDX-License-Identifier: MIT
"""A web application that waits, in Flask if that is installed, for gunicorn; nothing here knows microthread.

    gunicorn --chdir examples -k microthread.gunicorn.Worker wsgi_app:app
    curl http://127.0.0.1:8000/hello

One process answers a thousand requests at once, each after a tenth of a second.
"""

import time

try:
    import flask
except ImportError:
    flask = None

DELAY = 0.1  # seconds, as if it asked a database


def answer(name):
    time.sleep(DELAY)
    return f"hello, {name}\n"


if flask:
    app = flask.Flask(__name__)
    app.get("/<name>")(answer)
else:

    def app(environ, start_response):
        body = answer(environ["PATH_INFO"].lstrip("/")).encode()
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
        return [body]
