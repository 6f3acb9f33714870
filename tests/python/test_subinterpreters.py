# SPDX-License-Identifier: MIT
"""Interpreters that run in turn on one OS thread, each with a scheduler of its own."""
import pytest

from support import check_script

START = '''
import sys
log = []
import microthread
from microthread import spawn, sleep, micro_pipe, current, yield_now, deferred, run
try:
    import _interpreters as I
    def make(): return I.create("legacy") if sys.version_info >= (3,13) else I.create()
    def runs(i, s):
        e = I.exec(i, s)
        if e: raise RuntimeError(e)
    destroy = I.destroy
except ImportError:
    import _xxsubinterpreters as I
    def make(): return I.create(isolated=False) if sys.version_info[:2] >= (3, 9) else I.create()
    runs = I.run_string
    destroy = I.destroy
SRC = """
import microthread
from microthread import spawn, sleep, yield_now, micro_pipe, current
def work(n):
    try:
        sleep(0.0005)
        yield_now()
        return n
    finally:
        pass
assert sum(t.wait() for t in [spawn(work, n) for n in range(10)]) == 45
p = micro_pipe(1)
t = spawn(p.take_from, range(5))
assert [p.take() for _ in range(5)] == list(range(5))
x = spawn(sleep, 60)
sleep(0)
"""
def other():
    i = make()
    for _ in range(3):
        runs(i, SRC)
        yield_now()
    destroy(i)
    return 1
pipe = micro_pipe()
def waiter():
    try:
        pipe.take()
    except microthread.Cancelled:
        sleep(0.001)
        raise
'''


def check(body):
    check_script(START + body)


@pytest.mark.parametrize("times", [1, 3])
def test_micro_threads_run_in_an_interpreter_and_end_with_it(times):
    check(f"""
for _ in range({times}):
    assert other() == 1
print("ok")
""")


def test_parked_ones_are_cancelled_after_another_interpreter_ran():
    check("""
some = [spawn(waiter) for _ in range(3)]
sleep(0)
inner = make()
runs(inner, SRC)
for thread in some:
    thread.cancel()
runs(inner, SRC)
for thread in some:
    thread._join()
    assert thread.cancelled()
thread = spawn(waiter)
sleep(0)
thread.cancel()
runs(inner, SRC)
destroy(inner)
thread._join()
print("ok")
""")


def test_two_micro_threads_each_with_interpreters():
    check("""
for thread in [spawn(other), spawn(other)]:
    assert thread.wait() == 1
print("ok")
""")


def test_closed_pipe_is_seen_after_another_interpreter_ran():
    check("""
full = micro_pipe(1)
full.put(1)
writer = spawn(full.put, 2)
sleep(0)
full.close()
inner = make()
runs(inner, SRC)
destroy(inner)
try:
    writer.wait()
except microthread.PipeClosed:
    print("ok")
""")


def test_interpreter_that_runs_in_del_between_two_switches():
    check("""
class Thing:
    def __del__(self):
        inner = make()
        runs(inner, SRC)
        destroy(inner)
first, second = spawn(lambda thing: None, Thing()), spawn(sleep, 10)
sleep(0)
second.cancel()
second._join()
del first
yield_now()
sleep(0.002)
print("ok")
""")


def test_parked_one_runs_its_finally_block_when_its_interpreter_ends():
    check("""
inner = make()
runs(inner, '''
from microthread import sleep, spawn
def work():
    try:
        sleep(60)
    finally:
        print("ok", flush=True)
thread = spawn(work)
sleep(0)
''')
destroy(inner)
""")
