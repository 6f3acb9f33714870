# SPDX-License-Identifier: MIT
"""One measurement of a server: start it, load it, read its CPU clock before and after."""

import json
import select
import time

from harness.process import Failed, cpu_time, end, last_line, start

START_LIMIT = 20  # seconds for a server to name its port, or the load to warm up
MOST_MESSAGES = 2_000_000  # in one measurement; the load keeps a latency for each
SETTLE = 0.05  # seconds after the last reply, for closes still on their way


def line_from(child, what, seconds):
    """The next line of a child's stdout; Failed with its last words when it dies or stays silent."""
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    line = child.stdout.readline() if ready else ""
    if line:
        return line.strip()
    if ready:
        child.wait(timeout=5)
        why = last_line(child.stderr.read()) or "no message"
        raise Failed(f"{what} ended: status {child.returncode}: {why}")
    raise Failed(f"{what} said nothing for {seconds:g} s")


def say(child):
    child.stdin.write("\n")
    child.stdin.flush()


def measure(server_command, load, case, kind, seconds, cpus, env, is_spread=False):
    """Load one fresh server; returns its CPU microseconds a message, with what the clients saw.

    is_spread: it uses all CPUs, so the load must leave its own when it has nothing to do.
    """
    server_cpu, load_cpu = cpus
    spin = "1" if server_cpu != load_cpu and not is_spread else "0"
    generator = None
    server = start(server_command, server_cpu, env=env)
    try:
        word, port, *workers = line_from(server, "the server", START_LIMIT).split()
        pids = [int(pid) for pid in workers] or [server.pid]  # who does the work, if it is children
        if word != "PORT":
            raise Failed(f"the server said {word!r}, not its port")
        generator = start([load, kind, port, str(case["connections"]), str(case["size"]),
                           str(MOST_MESSAGES), str(seconds), spin], load_cpu, pipe_in=True)
        if line_from(generator, "the load", START_LIMIT) != "READY":
            raise Failed("the load did not get ready")
        time.sleep(SETTLE)
        before = sum(map(cpu_time, pids))
        say(generator)
        seen = json.loads(line_from(generator, "the load", seconds + START_LIMIT))
        time.sleep(SETTLE)
        used = sum(map(cpu_time, pids)) - before
        say(generator)
        if server.poll() is not None:
            raise Failed(f"the server ended: status {server.returncode}")
        if seen["messages"] == 0:
            raise Failed("no message came back")
        return {"value": used / seen["messages"] * 1e6, "cpu_seconds": used, **seen}
    finally:
        if generator is not None:
            end(generator)
        end(server)
