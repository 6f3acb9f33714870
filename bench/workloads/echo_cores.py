# SPDX-License-Identifier: MIT
"""Echo on two cores and one port: by two interpreters of a process, and by two processes."""

TITLE = "Echo server on two cores: CPU time of the server, one message"
NOTE = ("Two servers as in `echo`, with a backlog of 1,024 and one port, over which the kernel deals the connections "
        "out (SO_REUSEPORT): in two interpreters, or in two processes of one interpreter each. On a machine of two "
        "cores the load generator shares them, so the time that counts is the servers' own.")
UNIT = "µs"
KIND = "echo"
IS_SPREAD = True
CASES = {f"64B-{connections}": {"size": 64, "connections": connections} for connections in (10, 100, 1000)}
QUICK = ("64B-100",)

SERVERS = {
    "microthread": ["servers/both_cores.py"],
    "processes": ["servers/both_cores.py", "--processes"],
}
PEERS = dict.fromkeys(SERVERS)
