# SPDX-License-Identifier: MIT
"""The JSON of a run, and the questions that the report, the targets and the picture ask it."""

import json
import os
import statistics

from harness.peers import OURS

FORMAT = 1


class Results:
    """A run, as it was saved."""

    def __init__(self, data):
        if data.get("format") != FORMAT:
            raise ValueError(f"the results must be of format {FORMAT}, got {data.get('format')!r}")
        self.data = data
        self.entries = {(e["workload"], e["case"], e["peer"]): e for e in data["results"]}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    def save(self, path):
        """Write it whole or not at all."""
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(self.data, file, indent=1, ensure_ascii=False)
            file.write("\n")
        os.replace(path + ".part", path)

    def add(self, newer):
        """Take the samples of a later run in, too: more rounds for what it measured."""
        for key, record in newer.entries.items():
            mine = self.entries.setdefault(key, record)
            if mine is record:
                self.data["results"].append(record)
            else:
                for name in ("samples", "details", "failures"):
                    mine[name] += record[name]
        summarize(self.data["results"])
        return self

    def rounds(self):
        """How many there were, as text: some may have got more than others."""
        most = max((len(e["samples"]) for e in self.data["results"]), default=0)
        least = self.data["options"]["rounds"]
        return "one round" if most <= 1 else f"{most} rounds" if most <= least else f"{least} to {most} rounds"

    def entry(self, workload, case, peer=OURS):
        return self.entries.get((workload, case, peer))

    def minimum(self, workload, case, peer=OURS, detail=None):
        """The least of all rounds, of the value or of one of its details; None when not measured."""
        entry = self.entry(workload, case, peer)
        if entry is None or not entry["samples"]:
            return None
        if detail is None:
            return entry["min"]
        found = [each[detail] for each in entry["details"] if detail in each]
        return min(found) if found else None

    def median(self, workload, case, peer=OURS):
        """The median of all rounds; None when not measured."""
        entry = self.entry(workload, case, peer)
        return entry["median"] if entry is not None and entry["samples"] else None

    def cases(self, workload):
        return list(dict.fromkeys(e["case"] for e in self.data["results"] if e["workload"] == workload))

    def peers(self, workload):
        return list(dict.fromkeys(e["peer"] for e in self.data["results"] if e["workload"] == workload))

    def workloads(self):
        return list(dict.fromkeys(e["workload"] for e in self.data["results"]))


def summarize(records):
    """Give each record its minimum, median, maximum and the ratios to ours, in the same run."""
    ours = {(r["workload"], r["case"]): r for r in records if r["peer"] == OURS and r["samples"]}
    for record in records:
        samples = record["samples"]
        if not samples:
            continue
        record["min"], record["median"], record["max"] = min(samples), statistics.median(samples), max(samples)
        mine = ours.get((record["workload"], record["case"]))
        if mine is not None and min(mine["samples"]) > 0:
            record["ratio_of_minimums"] = record["min"] / min(mine["samples"])
            record["ratio_of_medians"] = record["median"] / statistics.median(mine["samples"])
    return records


def collect(groups, found, facts, options):
    """A Results of what the pairs have so far."""
    return Results({
        "format": FORMAT,
        "machine": facts,
        "options": {"rounds": options.rounds, "quick": options.quick, "only": options.only,
                    "worker_seconds": options.worker_seconds, "load_seconds": options.load_seconds},
        "peers": {p.name: {"version": p.version, "missing": p.missing} for p in found.values()},
        "results": summarize([pair.record() for group in groups for pair in group]),
    })
