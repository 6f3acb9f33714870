# SPDX-License-Identifier: MIT
"""Out of memory while cloning: each allocation of ours, then each of Python's, failing in turn."""
import importlib.util

import pytest

from support import check_script, run_script

START = """
    import array, collections, datetime, sys
    import microthread
    from microthread import sleep, spawn, yield_now
    from microthread._core import _clone_buffer, _fail_allocation
    from microthread.interpreters import CloneError, SharedBuffer, clone, register_clone

    class Plain:
        def __init__(self, **attributes):
            self.__dict__.update(attributes)
    class Own(list):
        pass
    class Registered:
        pass
    register_clone(Registered, lambda one: [1], lambda value: Registered())

    def make():
        deep = []
        for n in range(30):
            deep = [deep, (n,)]
        error = ValueError("x")
        error.__cause__ = KeyError(1)
        shared = [1, 2]
        return [deep, shared, shared, {"k" * n: [n] for n in range(20)}, set(range(50)), frozenset("abc"), 1 << 200,
                "text" * 100, b"bytes" * 100, bytearray(50), Plain(a=1, b=Plain()), Own([1]), error, len, int,
                datetime.date(2026, 1, 1), collections.OrderedDict(a=1), Registered(), memoryview(b"abc"),
                array.array("i", [1]), list(range(200)), SharedBuffer(8), SharedBuffer.from_buffer(bytearray(8))]
"""


@pytest.mark.parametrize("action", [
    "clone(value)",
    "SharedBuffer(100)",
    "SharedBuffer(100).toreadonly()",
    "SharedBuffer.from_buffer(bytearray(8))",
    "_clone_buffer(bytearray(8))",
    "clone([memoryview(b'abc')] * 3)",
    "clone([SharedBuffer(8) for _ in range(20)])",
])
def test_every_allocation_of_ours_may_fail(action):
    check_script(START + f"""
    value = make()
    failed = 0
    for n in range(1, 60):
        _fail_allocation(n)
        try:
            {action}
        except MemoryError:
            failed += 1
        finally:
            _fail_allocation(0)
        yield_now()
    assert failed >= 1, failed
    {action}
    data = value[-1]
    print("ok")
    """)


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi here")
def test_every_allocation_of_pythons_may_fail():
    done = run_script(START + """
    import _testcapi
    value = make()
    clone(value)
    for step in range(1, 900):
        try:
            _testcapi.set_nomemory(step, step + 1)
            try:
                clone(value)
            finally:
                _testcapi.remove_mem_hooks()
        except (MemoryError, CloneError):
            pass
    for part in value:
        for step in range(1, 30):
            try:
                _testcapi.set_nomemory(step, step + 1)
                try:
                    clone(part)
                finally:
                    _testcapi.remove_mem_hooks()
            except (MemoryError, CloneError):
                pass
    for bad in (sys, {"a": [sys]}, Plain(a=sys)):
        for step in range(1, 80):
            try:
                _testcapi.set_nomemory(step, step + 1)
                try:
                    clone(bad)
                finally:
                    _testcapi.remove_mem_hooks()
            except (MemoryError, CloneError):
                pass
    assert clone([1, {2: 3}]) == [1, {2: 3}]
    print("ok")
    """, timeout=60)
    assert done.returncode == 0 and done.stdout == "ok\n", (done.returncode, done.stdout, done.stderr[-3000:])


def test_clones_by_the_ten_thousand_leave_nothing_behind():
    check_script(START + """
    import gc
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    value = make() + [SharedBuffer(1 << 16), "x" * 100_000]
    bad = [value, {"a": sys}]
    def cycle(n):
        for _ in range(n):
            clone(value)
            view = _clone_buffer(bytearray(100))
            try:
                clone(bad)
            except CloneError:
                pass
            SharedBuffer(1000).toreadonly()
            SharedBuffer.from_buffer(bytearray(1000))
            try:
                value[-3].wait(0, 0, 0)
            except TimeoutError:
                pass
    cycle(300)
    gc.collect()
    before, blocks = resident(), sys.getallocatedblocks()
    cycle(3000)
    gc.collect()
    more, grown = sys.getallocatedblocks() - blocks, resident() - before
    assert more < 300, more
    assert grown < 3_000_000 or "asan" in str(__import__("os").environ.get("LD_PRELOAD")), grown
    small = [1, {"a": (2, [3])}]
    for _ in range(50_000):
        clone(small)
    assert sys.getallocatedblocks() - blocks < 300
    print("ok")
    """, timeout=60)
