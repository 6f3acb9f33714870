# SPDX-License-Identifier: MIT
"""What the interpreter itself costs here: the loop that every other workload is wrapped in."""

from workloads.common import cpu_clock, nothing

TITLE = "The floor: an empty loop and a call that does nothing"
NOTE = "Nothing is subtracted anywhere; this is how much of each figure below is the loop around it."
UNIT = "ns"
CASES = {"empty-loop": {"body": "loop"}, "no-op-call": {"body": "call"}}
START = 10_000


def python(count, body):
    """`for … pass`, or the same with a call of an empty Python function."""
    call = nothing
    if body == "loop":
        start = cpu_clock()
        for _ in range(count):
            pass
        return cpu_clock() - start, count
    start = cpu_clock()
    for _ in range(count):
        call()
    return cpu_clock() - start, count


PEERS = {"python": python}
