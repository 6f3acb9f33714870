# SPDX-License-Identifier: MIT
"""Echo: each connection sends a message and waits for it to come back, then sends the next."""

TITLE = "Echo server: CPU time of the server, one message"
NOTE = ("A message is received and sent back. Every server runs in one thread on a CPU of its own, with "
        "TCP_NODELAY, reads of up to 64 KiB and a backlog of 1,024. The load generator is the same C program for all, "
        "on the other CPU, and compares every reply with what it sent. "
        "microthread-timeouts puts each request into a timeout() block; microthread-patched is the standard "
        "library's socket and threading under patch.all(). The names are the size of a message and the number of connections.")
UNIT = "µs"
KIND = "echo"
SIZES = {"64B": 64, "1KiB": 1024, "64KiB": 65536}
CASES = {f"{name}-{connections}": {"size": size, "connections": connections}
         for name, size in SIZES.items() for connections in (1, 10, 100, 1000)}
QUICK = ("64B-10", "64B-1000", "64KiB-10")

# label -> arguments after the interpreter; NEEDS: label -> the peer that must be installed.
SERVERS = {
    "microthread": ["servers/ours.py"],
    "microthread-timeouts": ["servers/ours.py", "--timeouts"],
    "microthread-patched": ["servers/patched.py"],
    "gevent": ["servers/gevent_server.py"],
    "asyncio-streams": ["servers/asyncio_streams.py"],
    "asyncio-protocol": ["servers/asyncio_protocol.py"],
    "uvloop-streams": ["servers/asyncio_streams.py", "--uvloop"],
    "uvloop-protocol": ["servers/asyncio_protocol.py", "--uvloop"],
    "trio": ["servers/trio_server.py"],
}
NEEDS = {"asyncio-streams": "asyncio", "asyncio-protocol": "asyncio",
         "uvloop-streams": "uvloop", "uvloop-protocol": "uvloop"}
PEERS = dict.fromkeys(SERVERS)
GO = True
LIBEV = True
