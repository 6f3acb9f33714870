# SPDX-License-Identifier: MIT
"""Writes TAP: collect results, then print them with their plan."""


class Tap:
    def __init__(self):
        self.lines = []

    def ok(self, good, name, details=(), skip=None):
        """One result; details are printed below it as comments."""
        number = sum(not line.startswith("#") for line in self.lines) + 1
        self.lines.append(f"{'ok' if good else 'not ok'} {number} - {name}"
                          + (f" # SKIP {skip}" if skip else ""))
        self.lines += [f"# {detail}" for detail in details]

    def print(self):
        print(f"1..{sum(not line.startswith('#') for line in self.lines)}")
        print("\n".join(self.lines))
