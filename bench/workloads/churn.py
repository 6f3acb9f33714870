# SPDX-License-Identifier: MIT
"""Connection churn: connect, send 64 bytes, receive them, close, and again."""

from workloads.echo import NEEDS, PEERS, SERVERS  # noqa: F401  the same servers

TITLE = "Connection churn: CPU time of the server, one connection"
NOTE = ("Connect, 64 bytes there and back, close by the client; that many clients at a time. "
        "The server accepts, sets TCP_NODELAY, echoes and closes.")
UNIT = "µs"
KIND = "churn"
CASES = {"10": {"size": 64, "connections": 10}}
GO = True
LIBEV = True
