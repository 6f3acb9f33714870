# SPDX-License-Identifier: MIT
"""One measurement in a process of its own: worker.py WORKLOAD LABEL CASE SECONDS.

Finds by itself how often to repeat the operation so that it takes about SECONDS of CPU time (the
tries before the last are its warm-up), and prints one line of JSON.
"""

import json
import sys

from workloads import load

PER_SECOND = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0}


def scaled(function, case, seconds, start, most):
    """(CPU seconds, operations) of one call of `function` that is long enough."""
    count = start
    while True:
        cpu, operations = function(count, **case)
        if cpu >= seconds / 2 or count >= most:
            return cpu, operations
        growth = 20 if cpu <= 0 else min(20, max(1.5, seconds / cpu))
        count = min(most, int(count * growth) + 1)


def main():
    name, label, case_name, seconds = sys.argv[1:]
    workload = load(name)
    function, case = workload.PEERS[label], workload.CASES[case_name]
    if getattr(workload, "SCALE", True):
        most = getattr(workload, "MOST", 1_000_000_000)
        cpu, operations = scaled(function, case, float(seconds), workload.START, most)
    else:
        # A function that hands its figures over itself (memory) does not come back.
        cpu, operations = function(1, **case)
    value = cpu / operations * PER_SECOND[workload.UNIT]
    print(json.dumps({"value": value, "operations": operations, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
