#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures microthread and whichever peers are installed beside it, and shows the results.

    python bench/run.py                                   everything, about half an hour
    python bench/run.py --quick --only switch,echo/64B-*  a part of it, roughly
    python bench/run.py --json FILE --plot PICTURE        keep the figures; draw them
    python bench/run.py --from FILE --report PAGE         write the page from FILE, measuring nothing; a
                                                          --plot at the same time is shown in it
    python bench/run.py --targets                         what must hold, and whether it does

Peers are looked for in the Python that runs this; Go and the C libev server are built if `go` and `cc` are
there. Who is missing is named as missing. Every sample is a fresh process on one CPU, every server
listens on 127.0.0.1 only, everything is bounded in count and time.
"""

import argparse
import copy
import os
import signal
import sys
import tempfile

import workloads
from harness import build, machine, peers, plan, plot, report, results, targets


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="LIST", help="workloads or WORKLOAD/CASE patterns, comma between")
    parser.add_argument("--peers", metavar="LIST", help="peers to compare with; ours is always there")
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of each (default 5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="short samples, fewer cases: a smoke test")
    parser.add_argument("--json", metavar="FILE", help="write the results there, after each round and at the end")
    parser.add_argument("--from", metavar="FILE", dest="source", help="measure nothing: take the results from there")
    parser.add_argument("--plot", metavar="FILE", help="draw the results (.png, .svg; needs matplotlib)")
    parser.add_argument("--report", metavar="PAGE", help="write the results as a Markdown page")
    parser.add_argument("--targets", action="store_true",
                        help="print target, measured, met or not; exit status 1 unless all are met")
    parser.add_argument("--add", action="store_true", help="add the samples to those of the --json FILE: more rounds "
                        "for what is noisy")
    parser.add_argument("--fresh", action="store_true", help="measure although the --json FILE is there; without "
                        "this or an option on how to measure, --report and --targets then read it")
    parser.add_argument("--list", action="store_true", help="list workloads, cases and peers, and leave")
    given = parser.parse_args()
    if given.rounds is not None and not 1 <= given.rounds <= 100:
        parser.error(f"--rounds must be from 1 to 100, got {given.rounds}")
    if given.add and not (given.json and os.path.exists(given.json)):
        parser.error("--add needs --json FILE with results to add to")
    for name in given.peers.split(",") if given.peers else ():
        if name not in peers.NAMES:
            parser.error(f"--peers must be of {', '.join(peers.NAMES)}, got {name}")
    return given


def say(text):
    print(text, file=sys.stderr, flush=True)


def show_list():
    for name in workloads.NAMES:
        module = workloads.load(name)
        print(f"{name}: {module.TITLE} [{module.UNIT}]")
        print(f"    cases: {' '.join(module.CASES)}")
        print(f"    peers: {' '.join(plan.labels(module))}")


def measure(given):
    """Build, find the peers, run every round; saves to --json after each."""
    only = given.only.split(",") if given.only else None
    if given.targets and only is None:
        only = targets.needed()
    wanted = {peers.OURS, *given.peers.split(",")} if given.peers else None
    before = results.Results.load(given.json) if given.add else None
    options = plan.Options(given.rounds, given.quick, only, wanted)
    facts, cpus, env = machine.facts(), machine.cpus(), peers.environment()
    machine.allow_many_descriptors()
    with tempfile.TemporaryDirectory(prefix="microthread-bench-") as directory:
        built = build.build_all(directory)
        found = peers.find(env, built)
        for peer in found.values():
            say(f"{peer.name}: {peer.version or 'missing: ' + peer.missing}")
        groups = plan.pairs(options, found, built)
        if not groups:
            sys.exit(f"nothing is called {given.only}; --list shows the names")

        def so_far():
            now = results.collect(groups, found, facts, options)
            return copy.deepcopy(before).add(now) if before else now

        def after_round(_number):
            if given.json:
                so_far().save(given.json)

        try:
            plan.run(options, groups, built, env, cpus, after_round, say)
        except KeyboardInterrupt:
            say("interrupted; what was measured so far is kept")
        facts["load_after"] = os.getloadavg()[0]
        after_round(None)
        return so_far()


def show(measured):
    """All figures as plain text."""
    for name in measured.workloads():
        print(f"\n{workloads.load(name).TITLE} [{workloads.load(name).UNIT}]  minimum (median) ×ours")
        for case in measured.cases(name):
            print(f"  {name}/{case}")
            for peer in measured.peers(name):
                entry = measured.entry(name, case, peer)
                why = entry["skipped"] or entry["error"]
                print(f"    {peer:24}{why if not entry['samples'] else report.cell(entry)}")


def main():
    given = arguments()
    # Ended from outside, we still end what we started and remove what we built.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.list:
        show_list()
        return 0
    source = given.source
    how = given.fresh or given.quick or given.rounds or given.only or given.peers
    if (given.report or given.targets) and not how and given.json and os.path.exists(given.json):
        source = source or given.json
    if source is not None:
        try:
            measured = results.Results.load(source)
        except (OSError, ValueError) as error:
            sys.exit(f"cannot read the results: {error}")
        say(f"from {source}, measured {measured.data['machine']['started']}")
    else:
        measured = measure(given)
        show(measured)
    picture = given.plot
    if picture:
        try:
            plot.draw(measured, picture)
        except ImportError as error:
            say(f"no picture: {error}")
            picture = None
    if given.report:
        report.write(measured, given.report, picture)
    if given.targets:
        print(f"\n{targets.table(measured)}")
        return 0 if targets.all_met(measured) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
