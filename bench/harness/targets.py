# SPDX-License-Identifier: MIT
"""What microthread must show on CPython 3.14: limits, and ratios to peers in the same run."""

from harness.peers import OURS


class Target:
    """Ours, or our `label`, at most `most` (in the workload's unit, or of one detail), or `most` times `peer`."""

    def __init__(self, text, workload, case, most, unit, *, peer=None, detail=None, label=OURS, median=False):
        self.text, self.workload, self.case, self.most = text, workload, case, most
        self.unit, self.peer, self.detail, self.label, self.median = unit, peer, detail, label, median

    def measured(self, results):
        """The least of all rounds, or their median, or the ratio of two such; None when something is missing."""
        ours = self.figure(results, self.label)
        if self.peer is None or ours is None:
            return ours
        theirs = self.figure(results, self.peer)
        return ours / theirs if theirs else None

    def figure(self, results, label):
        if self.median:
            return results.median(self.workload, self.case, label)
        return results.minimum(self.workload, self.case, label, self.detail)


def echo(case, text):
    return [
        Target(f"echo, 64 B, {text}, to uvloop's Protocol", "echo", case, 1.1, "×", peer="uvloop-protocol"),
        Target(f"echo, 64 B, {text}, to the C libev server", "echo", case, 1.35, "×", peer="libev"),
    ]


TARGETS = [
    Target("import of the package", "startup", "import", 15, "ms"),
    Target("patch.all()", "startup", "patch", 60, "ms"),
    Target("switch in a ring of two", "switch", "2", 60, "ns"),
    Target("switch in a ring of two, to greenlet's", "switch", "2", 0.25, "×", peer="greenlet"),
    Target("switch in a ring of 10,000", "switch", "10000", 300, "ns"),
    Target("spawn + join, batches of 1,000", "spawn", "batch", 150, "ns"),
    Target("spawn + join, one by one", "spawn", "single", 300, "ns"),
    Target("parked, three frames deep, 10 thousand", "memory", "10k", 4300, "bytes"),
    Target("parked, three frames deep, a million", "memory", "1M", 4300, "bytes"),
    Target("time to park a million, stock sysctls", "memory", "1M", 10, "s", detail="seconds"),
    Target("pipe item, unbounded", "pipe", "unbounded", 80, "ns"),
    Target("pipe item, capacity 1", "pipe", "1", 150, "ns"),
    Target("pipe item, capacity 128", "pipe", "128", 80, "ns"),
    *echo("64B-10", "10 connections"),
    *echo("64B-1000", "1,000 connections"),
    Target("echo through the patched standard socket, to microthread.socket", "echo", "64B-10", 1.1, "×",
           peer="microthread", label="microthread-patched"),
    Target("echo, 1,000 connections, a time-out a request, to none", "echo", "64B-1000", 1.1, "×", peer=OURS,
           label="microthread-timeouts"),
    *[Target(f"TLS echo, {case} connections, to blocking OS threads", "tls_echo", case, 1.3, "×", peer="threads")
      for case in ("1", "10")],
    Target("connection churn, to uvloop's Protocol", "churn", "10", 1.2, "×", peer="uvloop-protocol"),
    Target("HTTP keep-alive, 100 connections, to uvloop's Protocol", "http", "100", 1.1, "×",
           peer="uvloop-protocol"),
    Target("lock, uncontended, both calls and the loop", "sync", "lock", 60, "ns"),
    Target("hand-over, contended", "sync", "hand-over", 150, "ns"),
    Target("select of 4 ready pipes", "scope", "select-4", 300, "ns"),
    Target("group of 1,000, spawn + join", "group", "1000", 250, "ns"),
    Target("timeout, enter + leave", "scope", "timeout", 200, "ns"),
    Target("clone of an int", "clone", "int", 60, "ns"),
    Target("clone of a dict of 10", "clone", "dict-10", 1200, "ns"),
    Target("clone of a dict of 10, to pickle's", "clone", "dict-10", 0.5, "×", peer="pickle"),
    Target("clone of 1,000 ints, to pickle's", "clone", "ints-1000", 1, "×", peer="pickle"),
    Target("clone of 100 dicts, to pickle's", "clone", "dicts-100", 0.75, "×", peer="pickle"),
    Target("clone of 1 MiB of bytes, to pickle's", "clone", "bytes-1MiB", 1, "×", peer="pickle"),
    Target("channel, a small message one way", "channel", "int", 400, "ns"),
    Target("channel, 1 MiB of bytes, to pickle + os.pipe", "channel", "bytes-1MiB", 1, "×", peer="pickle + os.pipe"),
    Target("channel, a buffer of 100 MiB", "channel", "buffer-100MiB", 100_000, "ns"),
    # Time on the clock: the least is that of a round in which the kernel kept both ends on one CPU.
    Target("ping-pong between interpreters, to raw pipes between OS threads, medians", "ping_pong", "int", 1.5,
           "×", peer="os.pipe", median=True),
    Target("an interpreter of the pool, ready, called and left", "interpreters", "pooled", 200, "µs"),
    Target("pure Python work on two cores, to two processes", "cores", "2", 1.05, "×", peer="processes"),
    Target("echo by two interpreters, to two processes on the same port", "echo_cores", "64B-100", 1.05, "×",
           peer="processes"),
    Target("gunicorn, a request, to its gevent worker's (1.5 times the requests)", "gunicorn", "50", 0.67, "×",
           peer="gevent"),
    Target("100,000 timers", "timers", "100000", 1, "s"),
    Target("parallel_map of 10,000 sleeps, 1,000 at once", "parallel_map", "limit-1000", 60, "ms"),
    Target("10,000 small files by 16 readers, to a plain loop", "files", "small", 2, "×", peer="builtin"),
    Target("worst stall beside 10,000 small files", "files", "small-stall", 5, "ms"),
    Target("worst stall beside a file of 1 GiB", "files", "large-stall", 5, "ms"),
    Target("a file of 1 GiB, to a plain loop", "files", "large", 1.25, "×", peer="builtin"),
]

ELSEWHERE = ("That the sanitizers are silent, that 50,000 created and destroyed leave no growth, and that all "
             "tests pass on every version is shown by `.ci/run`, not here.")


def needed():
    """The --only that measures just these."""
    return list(dict.fromkeys(f"{t.workload}/{t.case}" for t in TARGETS))


def rows(results):
    """(text, target, measured, verdict) of each, as texts."""
    for target in TARGETS:
        value = target.measured(results)
        verdict = "not measured" if value is None else "met" if value <= target.most else "NOT MET"
        shown = "–" if value is None else figure(value, target.unit)
        yield target.text, f"≤ {figure(target.most, target.unit)}", shown, verdict


def figure(value, unit):
    digits = 2 if value < 10 else 0
    text = f"{value:,.{digits}f}"
    if digits:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {unit}"


def table(results):
    """All of them as text."""
    lines = [("target", "at most", "measured", ""), *rows(results)]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), line[1].rjust(widths[1]),
                                line[2].rjust(widths[2]), line[3]]).rstrip() for line in lines)


def all_met(results):
    return all(verdict == "met" for *_, verdict in rows(results))
