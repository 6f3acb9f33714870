# SPDX-License-Identifier: MIT
"""Pure Python work in two halves, each in an interpreter of its own."""

import sys
from time import perf_counter

from workloads.common import all_cpus

TITLE = "Cores: pure Python work in two halves"
NOTE = ("Time on the clock for both halves, of the same size, between two that are ready and have warmed up. "
        "`one interpreter` does one half after the other; `processes` are two, forked before.")
UNIT = "ms"
START = 3
MOST = 20
CASES = {"2": {}}
HALF = 100_000


def skip(case, label):
    if label == "concurrent.interpreters" and sys.version_info < (3, 14):
        return "new in CPython 3.14"
    return None


def work(size):
    """The steps of the Collatz sequences up to 1, so many in all."""
    steps, start = 0, 1
    while steps < size:
        start = n = start + 1
        while n > 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
    return steps


def timed(count, operation):
    operation()
    begun = perf_counter()
    for _ in range(count):
        operation()
    return perf_counter() - begun, count


def ours(count):
    from microthread.interpreters import create

    all_cpus()
    both = [create(), create()]

    def halves():
        for handle in [one.spawn(work, HALF) for one in both]:
            handle.wait()

    result = timed(count, halves)
    for one in both:
        one.close()
    return result


def one_interpreter(count):
    all_cpus()

    def halves():
        work(HALF)
        work(HALF)

    return timed(count, halves)


def executor(count, pool):
    with pool:
        return timed(count, lambda: list(pool.map(work, (HALF, HALF))))


def processes(count):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    all_cpus()
    return executor(count, ProcessPoolExecutor(2, get_context("fork")))


def standard_interpreters(count):
    from concurrent.futures import InterpreterPoolExecutor

    all_cpus()
    return executor(count, InterpreterPoolExecutor(2))


PEERS = {
    "microthread": ours,
    "one interpreter": one_interpreter,
    "processes": processes,
    "concurrent.interpreters": standard_interpreters,
}
