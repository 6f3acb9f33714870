# SPDX-License-Identifier: MIT
"""gunicorn: the same application by our worker class and by gevent's."""

TITLE = "gunicorn: CPU time of the worker process, one request"
NOTE = ("One worker, connections kept alive, an application that returns 64 bytes. Most of it is gunicorn's own "
        "parsing and writing in Python. The names are the number of connections.")
UNIT = "µs"
KIND = "wsgi"
CASES = {"50": {"size": 64, "connections": 50}}

SERVERS = {
    "microthread": ["servers/gunicorn_server.py", "microthread.gunicorn.Worker"],
    "gevent": ["servers/gunicorn_server.py", "gevent"],
}
PEERS = dict.fromkeys(SERVERS)


def skip(case, label):
    try:
        import gunicorn  # noqa: F401
    except ImportError:
        return "not installed: gunicorn"
    return None
