# SPDX-License-Identifier: MIT
"""run: one clean entry point."""
import concurrent.futures

import pytest

from microthread import Cancelled, current, deferred, micro_thread, run, sleep, spawn, threads, yield_now
from support import check_script


def test_run_returns_what_fn_returns():
    assert run(lambda *args: args, 1, 2) == (1, 2)


def test_run_raises_what_fn_raises():
    with pytest.raises(KeyError):
        run({}.__getitem__, "x")


def test_run_runs_in_a_micro_thread_of_its_own():
    assert run(current) is not current()


def test_run_cancels_what_was_spawned_below_it_and_waits():
    log = []

    def leaf(n):
        try:
            sleep(10)
        except Cancelled:
            sleep(0.001)
            log.append(n)
            raise

    def branch():
        spawn(leaf, 1)
        started = micro_thread(leaf, (2,))
        started.start()
        leaf(3)

    def trunk():
        spawn(branch)
        sleep(0.001)
        return "value"

    before = threads()
    assert run(trunk) == "value"
    assert sorted(log) == [1, 2, 3] and threads() == before


def test_run_cancels_below_also_when_fn_fails():
    log = []

    def leaf():
        try:
            sleep(10)
        finally:
            log.append("left")

    def trunk():
        spawn(leaf)
        yield_now()
        raise ValueError

    with pytest.raises(ValueError):
        run(trunk)
    assert log == ["left"]


def test_run_leaves_alone_what_was_spawned_elsewhere():
    gate = deferred()
    other = spawn(gate.wait)
    run(spawn, int)
    assert not other.done()
    gate.callback(1)
    assert other.wait() == 1


def test_run_cancels_what_clean_up_spawns():
    log = []

    def leaf(n):
        try:
            sleep(10)
        finally:
            log.append(n)
            if n:
                spawn(leaf, n - 1)
                sleep(0.001)

    def trunk():
        spawn(leaf, 3)
        sleep(0.001)

    before = threads()
    run(trunk)
    assert threads() == before and log == [3, 2, 1, 0]


def test_run_within_run_ends_the_inner_ones_first():
    log = []

    def leaf(name):
        try:
            sleep(10)
        finally:
            log.append(name)

    def inner():
        spawn(leaf, "inner")
        yield_now()

    def outer():
        spawn(leaf, "outer")
        yield_now()
        run(inner)
        log.append("between")

    run(outer)
    assert log == ["inner", "between", "outer"]


def test_run_fifty_deep():
    def work(n):
        return run(work, n - 1) + 1 if n else 0

    assert run(work, 50) == 50


def test_cancelled_run_cancels_what_it_runs():
    log = []

    def leaf():
        try:
            sleep(10)
        finally:
            sleep(0.001)
            log.append("leaf")

    thread = spawn(run, leaf)
    sleep(0.001)
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert log == ["leaf"]


def test_run_whose_own_fn_is_cancelled_raises_cancelled_error():
    with pytest.raises(concurrent.futures.CancelledError):
        run(lambda: (current().cancel(), sleep(1)))


def test_run_as_the_whole_program():
    check_script("""
        import microthread
        def main(name):
            def child():
                try:
                    microthread.sleep(60)
                finally:
                    print("child left")
            microthread.spawn(child)
            microthread.sleep(0.001)
            print(name)
        microthread.run(main, "main done")
        print("ok")
    """, "main done\nchild left\nok\n")


def test_two_runs_side_by_side_keep_to_their_own():
    def work(n):
        other = spawn(sleep, 60)
        for _ in range(n):
            yield_now()
        assert other.state == "waiting"
        return n

    some = [spawn(run, work, n) for n in range(1, 10)]
    assert [thread.wait() for thread in some] == list(range(1, 10))
