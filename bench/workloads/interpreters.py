# SPDX-License-Identifier: MIT
"""Making and ending an interpreter, and calling a function in one that there is."""

import sys
from time import perf_counter

from workloads.common import all_cpus

TITLE = "Interpreters: create and close, call"
NOTE = ("Time on the clock. `create`: make one, ready for calls, and end it. `call`: a call of `len` in one that "
        "waits. `pooled`: take one of those that are kept for groups, have a function run in it, and leave the group. "
        "Peers: `concurrent.interpreters` (CPython 3.14); a forked process, and a call in a pool of one.")
UNIT = "µs"
START = 3
MOST = 20_000
CASES = {"create": {"what": "create"}, "call": {"what": "call"}, "pooled": {"what": "pooled"}}


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


def ours(count, what):
    from microthread import Group
    from microthread.interpreters import create

    all_cpus()
    if what == "create":
        return timed(min(count, 100), lambda: create().close())

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
        return timed(count, lambda: pool.submit(len, "four").result())


PEERS = {"microthread": ours, "concurrent.interpreters": standard, "processes": processes}
