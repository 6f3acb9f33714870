# SPDX-License-Identifier: MIT
"""Creating and destroying by the ten thousand leaves nothing behind."""
import pytest

from support import check_script

MEASURE = """
    import gc, os, sys, threading
    import microthread
    from microthread import (Group, current, deferred, micro_pipe, micro_thread, run, sleep, spawn,
                             yield_now)

    # AddressSanitizer keeps freed memory for a while: its growth says nothing about ours.
    MEMORY_IS_OURS = "asan" not in os.environ.get("LD_PRELOAD", "")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    class Thing:
        alive = 0
        def __init__(self):
            Thing.alive += 1
        def __del__(self):
            Thing.alive -= 1

    def os_threads():
        return len(os.listdir("/proc/self/task"))

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    def maps():
        with open("/proc/self/maps") as file:
            return len(file.readlines())

    def growth(cycle, count, batch):
        # Of resident bytes, blocks, descriptors and mappings.
        def measure():
            gc.collect()
            return resident(), sys.getallocatedblocks(), descriptors(), maps()
        tasks, before = os_threads(), measure()
        for _ in range(count // batch):
            cycle(batch)
        yield_now()
        while os_threads() > tasks:
            sleep(0.001)  # an OS thread says that it ends before it has
        return [now - then for now, then in zip(measure(), before)]

    def check(cycle, count, batch=500, most_maps=None):
        for _ in range(3):
            cycle(batch)
        # What is left behind is left each time. That more stacks or OS threads than ever were in use
        # at once, or that unused stacks had been given back just before, is not.
        for _ in range(3):
            grown, more, files, mappings = growth(cycle, count, batch)
            assert Thing.alive == 0, Thing.alive
            assert microthread.stats()["threads"] == 1
            assert files <= 0, files
            has_maps = most_maps is not None and mappings >= most_maps
            if more < 500 and (grown < 3_000_000 and not has_maps or not MEMORY_IS_OURS):
                return print("ok")
        raise AssertionError((more, grown, mappings))
"""

CYCLES = {
    "finished": ("for t in [spawn(lambda x: x, Thing()) for _ in range(n)]: t.wait()", 50_000),
    "finished, never looked at": ("for _ in range(n): spawn(lambda x: x, Thing())\nyield_now()",
                                  50_000),
    "keywords and names": (
        "for t in [micro_thread(lambda **k: k, (), {'x': Thing()}, name='n') for _ in range(n)]:\n"
        "    t.start()\n    t.wait()", 20_000),
    "failed": ("""
def fail(x):
    raise ValueError(x)
for t in [spawn(fail, Thing()) for _ in range(n)]:
    try:
        t.wait()
    except ValueError:
        pass
del t""", 20_000),
    "failed and reported": ("for _ in range(n): spawn(lambda x: 1 / 0, Thing())\nyield_now()",
                            10_000),
    "cancelled before the first run": (
        "for t in [spawn(sleep, Thing()) for _ in range(n)]:\n    t.cancel('why')\n    t._join()",
        50_000),
    "parked, then cancelled": ("""
def work(x):
    sleep(60)
some = [spawn(work, Thing()) for _ in range(n)]
yield_now()
for t in some:
    t.cancel()
for t in some:
    t._join()""", 50_000),
    "parked, then thrown into": ("""
def work(x):
    try:
        pipe.take()
    except ValueError:
        pass
pipe = micro_pipe()
some = [spawn(work, Thing()) for _ in range(n)]
yield_now()
for t in some:
    t.throw(ValueError())
for t in some:
    t.wait()""", 20_000),
    "never started": ("for _ in range(n): micro_thread(print, (Thing(),), {}, stdin=Thing())",
                      50_000),
    "timed out": ("""
def work(x):
    try:
        deferred().wait(0.0001)
    except TimeoutError:
        pass
for t in [spawn(work, Thing()) for _ in range(n)]:
    t.wait()""", 20_000),
    "pipes with items": ("for _ in range(n):\n    p = micro_pipe()\n    p.take_from([Thing(), Thing()])"
                         "\n    p.close(ValueError(p))\ngc.collect()", 20_000),
    "pipes with waiting writers": ("""
def work(x):
    try:
        micro_pipe(0).put(x)
    except ValueError:
        pass
some = [spawn(work, Thing()) for _ in range(n)]
yield_now()
for t in some:
    t.throw(ValueError)
    t.wait()""", 20_000),
    "deferreds": ("for _ in range(n):\n    d = deferred()\n    d.callback(Thing())\n    d.wait()",
                  50_000),
    "failed deferreds": ("for _ in range(n):\n    d = deferred()\n    d.errback(ValueError(Thing()))",
                         10_000),
    "cycles": ("for _ in range(n):\n    p = micro_pipe()\n    p.put((p, Thing()))\n"
               "    d = deferred()\n    d.callback((d, Thing()))\n"
               "    t = micro_thread(print, [])\n    t.stdout = (t, Thing())\n"
               "del p, d, t\ngc.collect()", 10_000),
    "callbacks and contexts": (
        "import contextvars\nfor t in [spawn(lambda x: var.set(x), Thing()) for _ in range(n)]:\n"
        "    t.add_done_callback(lambda t: None)\n    t.context\n    t.wait()\n    t.context\ndel t",
        20_000),
    "data stacks that grow": ("""
def down(k):
    a, b, c, d = k, k, k, k
    return down(k - 1) if k else 0
for t in [spawn(down, 200) for _ in range(n)]:
    t.wait()""", 5_000),
    "runs": ("for _ in range(n): run(lambda x: spawn(sleep, 60), Thing())", 5_000),
    "groups": ("""
for _ in range(n):
    with Group() as group:
        group.spawn(lambda x: x, Thing())
        group.spawn(lambda x: x, Thing())""", 50_000),
    "groups that fail and are cancelled": ("""
for _ in range(n):
    try:
        with Group(2) as group:
            for _ in range(3):
                group.spawn(lambda x: sleep(60), Thing())
            group.spawn(lambda x: 1 / 0, Thing())
            yield_now()
            group.cancel()
            yield_now()
            raise ValueError(Thing())
    except ExceptionGroup:
        pass""", 10_000),
    "groups never left, and never entered": ("""
def own():
    group = Group(1)
    group.__enter__()
    for _ in range(3):
        group.spawn(sleep, Thing())
for _ in range(n):
    Group()
    spawn(own).wait()
    yield_now()""", 5_000),
    "members of one group": ("""
with Group() as group:
    for _ in range(n):
        group.spawn(lambda x: x, Thing())
        yield_now()""", 50_000),
    "frames looked at": ("""
def work(x):
    sleep(60)
some = [spawn(work, Thing()) for _ in range(n)]
yield_now()
for t in some:
    t.frame.f_locals, t.waiting_for
    t.cancel()
for t in some:
    t._join()""", 10_000),
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycle_leaves_nothing_behind(name):
    body, count = CYCLES[name]
    lines = "\n".join("        " + line for line in body.strip().split("\n"))
    check_script(MEASURE + f"""
    import contextvars
    var = contextvars.ContextVar("var")
    microthread.excepthook = lambda args: None
    def cycle(n):
{lines}
    check(cycle, {count})
    """, timeout=240)


@pytest.mark.parametrize("body", [
    "current()",
    "spawn(lambda x: x, Thing()).wait()",
    "spawn(lambda x: sleep(60), Thing()); sleep(0)",
    "spawn(lambda x: 1 / 0, Thing()); sleep(0)",
    "micro_pipe().put(Thing()), micro_thread(int, stack_size=2**20).start(), sleep(0.0001)",
])
def test_scheduler_of_an_os_thread_leaves_nothing_behind(body):
    check_script(MEASURE + f"""
    import os
    microthread.excepthook = lambda args: None
    def work():
        {body}
    def cycle(n):
        for _ in range(n):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    current()
    check(cycle, 600, 50, most_maps=20)
    """, timeout=240)
