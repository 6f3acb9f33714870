# SPDX-License-Identifier: MIT
"""Making and ending an interpreter, and calling a function in one that there is."""

import sys
from time import perf_counter

from workloads.common import all_cpus

TITLE = "Interpreters: create and close, call"
NOTE = ("Time on the clock. `create`: make one, ready for calls, and end it. `call`: a call of `len` in one that "
        "waits. `pooled`: take one of those that are kept for groups, have a function run in it, and leave the group. "
        "`map`: an item of `parallel_map(len, words, limit=100, interpreters=1)`. Peers: `concurrent.interpreters` "
        "(CPython 3.14), with `InterpreterPoolExecutor(1).map` for `map`; a forked process, and a pool of one.")
UNIT = "µs"
START = 3
MOST = 20_000
CASES = {"create": {"what": "create"}, "call": {"what": "call"}, "pooled": {"what": "pooled"},
         "map": {"what": "map"}}


def skip(case, label):
    if label == "concurrent.interpreters" and sys.version_info < (3, 14):
        return "new in CPython 3.14"
    if case == "pooled" and label != "microthread":
        return "has no such pool"
    return None


def timed(count, operation):
    operation()  # what is imported on first use is no part of it
    begun = perf_counter()
    for _ in range(count):
        operation()
    return perf_counter() - begun, count


def timed_map(count, function):
    function(["four"])
    begun = perf_counter()
    function(["four"] * count)
    return perf_counter() - begun, count


def ours(count, what):
    from microthread import Group, parallel_map
    from microthread.interpreters import create

    all_cpus()
    if what == "create":
        return timed(min(count, 100), lambda: create().close())
    if what == "map":
        return timed_map(count, lambda words: parallel_map(len, words, limit=100, interpreters=1))

    def group():
        with Group(interpreters=1) as members:
            members.spawn(len, "four")

    if what == "pooled":
        return timed(count, group)
    other = create()
    try:
        return timed(count, lambda: other.call(len, "four"))
    finally:
        other.close()


def standard(count, what):
    from concurrent import interpreters

    all_cpus()
    if what == "create":
        return timed(min(count, 100), lambda: interpreters.create().close())
    if what == "map":
        from concurrent.futures import InterpreterPoolExecutor

        with InterpreterPoolExecutor(1) as pool:
            return timed_map(count, lambda words: list(pool.map(len, words)))
    other = interpreters.create()
    try:
        return timed(count, lambda: other.call(len, "four"))
    finally:
        other.close()


def processes(count, what):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    all_cpus()
    context = get_context("fork")

    def fork():
        child = context.Process(target=len, args=("four",))
        child.start()
        child.join()

    if what == "create":
        return timed(min(count, 100), fork)
    with ProcessPoolExecutor(1, context) as pool:
        if what == "map":
            return timed_map(count, lambda words: list(pool.map(len, words)))
        return timed(count, lambda: pool.submit(len, "four").result())


PEERS = {"microthread": ours, "concurrent.interpreters": standard, "processes": processes}
