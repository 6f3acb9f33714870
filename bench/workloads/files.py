# SPDX-License-Identifier: MIT
"""Files: ten thousand small ones by 16 readers, a large one from end to end, and the worst stall meanwhile."""

import contextlib
import tempfile
from time import perf_counter

TITLE = "Files in the page cache"
NOTE = ("Wall clock, since the work is the kernel's and other threads'. `builtin` is a plain loop with the "
        "builtin `open`, ours 16 micro-threads that share the names. The stall is how late a ticker of "
        "1 ms beside them came at worst; it includes what the machine itself does to a sleeper.")
UNIT = "ms"
CASES = {
    "small": {"name": "small", "is_stall": False},
    "large": {"name": "large", "is_stall": False},
    "small-stall": {"name": "small", "is_stall": True},
    "large-stall": {"name": "large", "is_stall": True},
}
SCALE = False
QUICK = ("small", "small-stall")

SMALL_COUNT, SMALL_SIZE = 10_000, 1000
LARGE_SIZE, PIECE = 1 << 30, 1 << 20
READERS = 16
TICK = 0.001


@contextlib.contextmanager
def paths(name):
    """The files to read, freshly written, so that they are in memory; removed in the end."""
    with tempfile.TemporaryDirectory(prefix="microthread-bench-") as folder:
        if name == "small":
            found = [f"{folder}/{number}" for number in range(SMALL_COUNT)]
            for path in found:
                with open(path, "wb") as file:
                    file.write(b"x" * SMALL_SIZE)
        else:
            found = [f"{folder}/large"]
            with open(found[0], "wb") as file:
                for _ in range(LARGE_SIZE // PIECE):
                    file.write(b"x" * PIECE)
        yield found


def read_all(names, open_file):
    """Every file that the iterator gives, in pieces."""
    for path in names:
        with open_file(path, "rb") as file:
            while file.read(PIECE):
                pass


def builtin(count, name, is_stall):
    with paths(name) as found:
        start = perf_counter()
        read_all(iter(found), open)
        return perf_counter() - start, 1


def ours(count, name, is_stall):
    from microthread import open as open_file
    from microthread import sleep, spawn

    worst = 0.0

    def tick():
        nonlocal worst
        while True:
            before = perf_counter()
            sleep(TICK)
            worst = max(worst, perf_counter() - before - TICK)

    with paths(name) as found:
        ticker = spawn(tick) if is_stall else None
        names = iter(found)
        start = perf_counter()
        for thread in [spawn(read_all, names, open_file) for _ in range(READERS)]:
            thread.wait()
        took = perf_counter() - start
        if ticker:
            ticker.cancel()
    return worst if is_stall else took, 1


def skip(case, label):
    """Nobody beside a plain loop could tick."""
    return "has no ticker" if label == "builtin" and CASES[case]["is_stall"] else None


PEERS = {"microthread": ours, "builtin": builtin}
