# SPDX-License-Identifier: MIT
"""docs/performance.md, written from the JSON and from nothing else."""

import os
import textwrap

import workloads
from harness import targets
from harness.peers import OURS

HEAD = """<!-- Written by bench/run.py from measured results; do not edit. -->
# Performance

Every figure on this page was measured and written here by `bench/run.py`; none is typed by hand.

    python bench/run.py --json docs/performance.json
    python bench/run.py --from docs/performance.json --plot docs/performance.svg --report docs/performance.md

The first measures, the second writes this page from what was measured. `--quick` is a short run, `--only
switch,echo/64B-*` a part of it, `--peers uvloop,go` a choice of peers, `--add` more rounds for what is noisy,
`--targets` the table of what must hold, `--list` all there is to choose from.
"""

READING = """## How to read the tables

* A figure is **CPU time** (user and system) of the process that does the work, all its threads: wall-clock time
  would also show what else the machine was doing. For servers it is the server's CPU clock alone, read just before and
  after the load. Less is better everywhere.
* Each cell gives the **minimum** of {rounds}, in parentheses the **median**, and after the × how many times
  microthread's minimum that is (×2 is twice as dear as ours, ×0.5 half). – is a pair that was not measured; why is said
  below the table.
* Every sample comes from a fresh process; the peers of a case run one right after the other, in another order each
  round, {pinning}.
* Counts are chosen by each process so that a sample takes about {worker} s of CPU time, after shorter warm-up calls;
  a server is loaded for {load} s after a warm-up. Go runs with GOMAXPROCS=1, Python with its default garbage
  collector settings.
* The loop around an operation is not subtracted: see the floor.
* This is one machine, possibly virtual and shared. Ratios within a row are worth more than the figures, and
  differences of a few per cent worth nothing. The load average before the run was {load_before:.2f}.
"""

MEMORY_EXTRAS = ("The same processes, the least of each: seconds to spawn and park them all / mappings added / "
                 "bytes of page tables each.")
CLIENT_EXTRAS = ("What the clients saw in the round with the server's least CPU time: thousands of messages a "
                 "second, median / 99th percentile of the time to the reply in µs, and how busy the server's CPU "
                 "was. Where a server is not fully busy, its figure above contains going to sleep and waking.")


def number(value):
    """Three significant digits, no exponent; counts as they are."""
    if isinstance(value, int):
        return f"{value:,}"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def filled(text):
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def cell(entry):
    if entry is None or not entry["samples"]:
        return "failed" if entry is not None and entry["error"] else "–"
    text = f"{number(entry['min'])} ({number(entry['median'])})"
    ratio = entry.get("ratio_of_minimums")
    return text if ratio is None or entry["peer"] == OURS else f"{text} ×{number_of_times(ratio)}"


def number_of_times(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def markdown(rows):
    """A table; the first row is its head."""
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in body]


def workload_section(results, name):
    module = workloads.load(name)
    cases = results.cases(name)
    shown = [p for p in results.peers(name)
             if any((e := results.entry(name, c, p)) and (e["samples"] or e["error"]) for c in cases)]
    lines = [f"## {module.TITLE}", "", filled(f"In {module.UNIT}. {module.NOTE}"), ""]
    if not shown:
        return lines + ["Not measured.", ""]
    lines += markdown([[name, *shown],
                       *([case, *(cell(results.entry(name, case, peer)) for peer in shown)] for case in cases)])
    lines += ["", *extras(results, name, cases, shown), *remarks(results, name, cases)]
    return lines


def extras(results, name, cases, shown):
    """What memory and the servers show beside their value."""
    if name == "memory":
        text, kinds = MEMORY_EXTRAS, ("seconds", "mappings", "tables")
    elif name in ("echo", "echo_cores", "churn", "http", "gunicorn"):
        text, kinds = CLIENT_EXTRAS, ()
    else:
        return
    yield filled(text)
    yield ""
    most = 200 if name == "echo_cores" else 100  # per cent of a CPU; what is over is rounding
    rows = [[name, *shown]]
    for case in cases:
        row = [case]
        for peer in shown:
            entry = results.entry(name, case, peer)
            if entry is None or not entry["samples"]:
                row.append("–")
            elif kinds:
                row.append(" / ".join(number(max(0, results.minimum(name, case, peer, key))) for key in kinds))
            else:
                best = min(zip(entry["samples"], entry["details"]), key=lambda pair: pair[0])[1]
                row.append(f"{best['messages'] / best['seconds'] / 1000:.1f}k, "
                           f"{best['p50_us']:,.0f} / {best['p99_us']:,.0f}, "
                           f"{min(most, 100 * best['cpu_seconds'] / best['seconds']):.0f} %")
        rows.append(row)
    yield from markdown(rows)
    yield ""


def remarks(results, name, cases):
    """Why a pair has no figure, and which had to be tried again."""
    said = {}
    for case in cases:
        for peer in results.peers(name):
            entry = results.entry(name, case, peer)
            if entry is None:
                continue
            if entry["skipped"]:
                said.setdefault((peer, f"not measured: {entry['skipped']}"), []).append(case)
            elif entry["failures"]:
                some = "failed" if entry["error"] else f"{len(entry['failures'])} sample(s) failed"
                said.setdefault((peer, f"{some}: {entry['failures'][-1]}"), []).append(case)
    for (peer, text), where in said.items():
        place = "" if len(where) == len(cases) else f" ({', '.join(where)})"
        yield f"* {peer}{place}: {text}"
    if said:
        yield ""


def versions(results):
    machine = results.data["machine"]
    rows = [["what", "version"],
            ["processor", f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB"],
            ["kernel", f"Linux {machine['kernel']}, {machine['architecture']}, {machine['system']}, "
                       f"vm.max_map_count {machine['vm.max_map_count']}"],
            ["Python", f"{machine['python']} ({machine['python_build']})"]]
    for name, peer in results.data["peers"].items():
        text = peer["version"] or f"missing: {peer['missing']}"
        if name == OURS and peer["version"] and machine["revision"]:
            text += f", commit {machine['revision']}"
        rows.append([name, text])
    lines = markdown(rows)
    lines[1] = "| --- | --- |"
    return [f"Measured {machine['started']}.", "", *lines, ""]


def page(results, picture=None):
    """The whole page as text."""
    options, machine = results.data["options"], results.data["machine"]
    lines = [HEAD]
    if options["quick"]:
        lines += ["**These figures come from a quick run and are rough.**", ""]
    lines += versions(results)
    if picture:
        lines += [f"![Every workload and case, a bar for each peer]({picture})", ""]
    lines += ["## What must hold", "", *markdown([["target", "at most", "measured", ""], *targets.rows(results)]), "",
              filled(f"Against the minimum of all rounds where it does not say median. {targets.ELSEWHERE}"), ""]
    pinning = "pinned to one CPU, the load generator to another, where it polls without sleeping" \
        if machine["cpus"] > 1 else "all on the only CPU"
    lines += [READING.format(rounds=results.rounds(),
                             pinning=pinning, worker=options["worker_seconds"], load=options["load_seconds"],
                             load_before=machine["load_before"])]
    for name in results.workloads():
        lines += workload_section(results, name)
    return "\n".join(lines).rstrip() + "\n"


def write(results, path, picture=None):
    if picture:
        picture = os.path.relpath(picture, os.path.dirname(os.path.abspath(path)))
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(results, picture))
