# SPDX-License-Identifier: MIT
"""HTTP/1.1 with connections that are kept alive, by a minimal handler on raw sockets."""

TITLE = "HTTP keep-alive: CPU time of the server, one request"
NOTE = ("Each connection sends a GET request and waits for the whole response before the next. All servers parse "
        "the request and build the response by the same Python function, so that the difference is the loop. "
        "The names are the number of connections.")
UNIT = "µs"
KIND = "http"
CASES = {str(connections): {"size": 64, "connections": connections} for connections in (1, 100)}
QUICK = ("100",)

SERVERS = {
    "microthread": ["servers/http_ours.py"],
    "gevent": ["servers/http_ours.py", "--gevent"],
    "asyncio-protocol": ["servers/http_protocol.py"],
    "uvloop-protocol": ["servers/http_protocol.py", "--uvloop"],
}
NEEDS = {"asyncio-protocol": "asyncio", "uvloop-protocol": "uvloop"}
PEERS = dict.fromkeys(SERVERS)
