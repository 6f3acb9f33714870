# SPDX-License-Identifier: MIT
"""What is measured, and in which order: every round gives each pair of case and peer one fresh process,
the peers of a case right after one another, in another order each round."""

import fnmatch
import json
import os
import sys
import time

import workloads
from harness import network, peers, process
from harness.build import BENCH

WORKER_LIMIT = 180  # seconds for one worker
FAILURES = 2  # of one pair, after which it is left alone


class Options:
    """How thorough to be."""

    def __init__(self, rounds=None, quick=False, only=None, wanted=None):
        self.rounds = rounds or (1 if quick else 5)
        self.quick = quick
        self.only = only  # patterns of WORKLOAD or WORKLOAD/CASE, or None
        self.wanted = wanted  # names of peers, or None
        self.worker_seconds = 0.05 if quick else 0.4
        self.load_seconds = 0.25 if quick else 1.0

    def takes(self, workload, case):
        """Was this case asked for?"""
        if self.only is None:
            return True
        return any(fnmatch.fnmatchcase(workload, each) or fnmatch.fnmatchcase(f"{workload}/{case}", each)
                   for each in self.only)


class Pair:
    """One case of one workload for one peer, and what came out of it."""

    def __init__(self, name, module, case, label):
        self.name, self.module, self.case, self.label = name, module, case, label
        self.samples, self.details, self.errors = [], [], []
        self.skipped = None

    def record(self):
        """Its entry in the JSON."""
        return {"workload": self.name, "case": self.case, "peer": self.label, "unit": self.module.UNIT,
                "samples": self.samples, "details": self.details,
                "error": self.errors[-1] if self.errors and not self.samples else None,
                "failures": self.errors, "skipped": self.skipped}


def labels(module):
    """Everybody who can take part in a workload, ours first."""
    extra = [name for name, flag in (("go", "GO"), ("libev", "LIBEV")) if getattr(module, flag, False)]
    return [*module.PEERS, *extra]


def pairs(options, found, built):
    """All pairs to run, grouped by case; those that cannot run say why."""
    groups = []
    for name in workloads.NAMES:
        module = workloads.load(name)
        for case in module.CASES:
            if not options.takes(name, case):
                continue
            if options.quick and options.only is None and case not in getattr(module, "QUICK", module.CASES):
                continue
            group = []
            for label in labels(module):
                need = getattr(module, "NEEDS", {}).get(label, label)
                if options.wanted is not None and need not in options.wanted and need in peers.NAMES:
                    continue
                pair = Pair(name, module, case, label)
                pair.skipped = why_not(module, case, label, found.get(need), built)
                group.append(pair)
            groups.append(group)
    return groups


def why_not(module, case, label, peer, built):
    """The reason why a pair is not measured, or None."""
    if peer is not None and peer.missing is not None:
        return f"not installed: {peer.missing}"
    if hasattr(module, "KIND") and built["load"][0] is None:
        return f"no load generator: {built['load'][1]}"
    skip = getattr(module, "skip", None)
    return skip(case, label) if skip else None


def sample(pair, options, built, env, cpus):
    """One measurement in fresh processes: a dict with `value`."""
    module, case = pair.module, pair.module.CASES[pair.case]
    if hasattr(module, "KIND"):
        own = {"go": [built["go"][0], "echo"], "libev": [built["libev"][0]]}
        script = getattr(module, "SERVERS", {}).get(pair.label)
        command = own.get(pair.label) or [sys.executable, os.path.join(BENCH, script[0]), *script[1:]]
        return network.measure(command, built["load"][0], case, module.KIND,
                               options.load_seconds, cpus, env, getattr(module, "IS_SPREAD", False))
    if pair.label == "go":
        command = [built["go"][0], pair.name, json.dumps(case), str(options.worker_seconds)]
    else:
        command = [sys.executable, os.path.join(BENCH, "worker.py"), pair.name, pair.label, pair.case,
                   str(options.worker_seconds)]
    return json.loads(process.output(command, cpus[0], WORKER_LIMIT, env=env))


def run(options, groups, built, env, cpus, after_round, say):
    """Run all rounds. `after_round(number)` may save what there is so far; `say(text)` shows progress."""
    for number in range(options.rounds):
        for group in groups:
            ready = [pair for pair in group if pair.skipped is None and len(pair.errors) < FAILURES
                     and number < getattr(pair.module, "ROUNDS", options.rounds)]
            turn = number % len(ready) if ready else 0
            for pair in ready[turn:] + ready[:turn]:
                begun = time.monotonic()
                head = f"round {number + 1}/{options.rounds}  {pair.name}/{pair.case}  {pair.label}"
                try:
                    result = sample(pair, options, built, env, cpus)
                except (process.Failed, OSError, ValueError) as error:
                    pair.errors.append(str(error))
                    say(f"{head}: failed: {error}")
                    continue
                pair.samples.append(result.pop("value"))
                pair.details.append(result)
                say(f"{head}: {pair.samples[-1]:.4g} {pair.module.UNIT}  ({time.monotonic() - begun:.1f} s)")
        after_round(number + 1)
