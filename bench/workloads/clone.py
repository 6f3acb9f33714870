# SPDX-License-Identifier: MIT
"""What it costs to write an object as a message and to read it again."""

import dataclasses

from workloads.common import cpu_clock

TITLE = "Clone: an object written as a message, and read again"
NOTE = ("One operation is `clone(obj)`, `pickle.loads(pickle.dumps(obj, 5))`, the same with marshal, which knows no "
        "objects, or `copy.deepcopy(obj)`, which leaves what cannot change as it is.")
UNIT = "ns"
START = 100
MOST = 2_000_000


@dataclasses.dataclass
class Point:
    x: int
    y: int
    label: str


def record(offset=0):
    return {f"field{n}": offset + 1000 * n for n in range(10)}


MAKE = {
    "int": lambda: 12345,
    "str": lambda: "a few words of text",
    "dict-10": record,
    "ints-1000": lambda: [1000 + n for n in range(1000)],
    "dicts-100": lambda: [record(n) for n in range(100)],
    "objects-100": lambda: [Point(n, -n, "a point") for n in range(100)],
    "nested": lambda: {"users": [{"id": n, "tags": ("a", "b"), "score": n / 7, "active": n % 2 == 0, "peer": None}
                                 for n in range(50)], "total": 50},
    "bytes-1MiB": lambda: bytes(1 << 20),
}
CASES = {name: {"what": name} for name in MAKE}


def skip(case, label):
    """marshal has no objects; deepcopy copies nothing of what cannot change."""
    if label == "marshal" and case == "objects-100":
        return "marshal knows no objects"
    if label == "deepcopy" and case in ("int", "str", "bytes-1MiB"):
        return "nothing is copied"
    return None


def loop(count, what, function):
    obj = MAKE[what]()
    begun = cpu_clock()
    for _ in range(count):
        function(obj)
    return cpu_clock() - begun, count


def ours(count, what):
    from microthread.interpreters import clone

    return loop(count, what, clone)


def pickled(count, what):
    from pickle import dumps, loads

    return loop(count, what, lambda obj: loads(dumps(obj, 5)))


def marshalled(count, what):
    from marshal import dumps, loads

    return loop(count, what, lambda obj: loads(dumps(obj)))


def deep_copied(count, what):
    from copy import deepcopy

    return loop(count, what, deepcopy)


PEERS = {"microthread": ours, "pickle": pickled, "marshal": marshalled, "deepcopy": deep_copied}
