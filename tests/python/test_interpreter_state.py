# SPDX-License-Identifier: MIT
"""What the interpreter keeps for each execution is kept apart across switches."""
import contextlib
import gc
import sys
import traceback
import weakref

import pytest

from microthread import deferred, micro_pipe, sleep, spawn, yield_now
from support import check_script


def all_values(*functions):
    return [thread.wait() for thread in [spawn(function) for function in functions]]


def test_exception_being_handled_is_each_ones_own():
    def work(n):
        try:
            raise ValueError(n)
        except ValueError:
            for _ in range(3):
                yield_now()
                assert sys.exc_info()[1].args == (n,)
            try:
                raise KeyError(n)
            except KeyError as error:
                yield_now()
                assert error.__context__.args == (n,)
            assert sys.exc_info()[1].args == (n,)
        yield_now()
        return sys.exc_info()[0]

    assert all_values(*[lambda n=n: work(n) for n in range(10)]) == [None] * 10


def test_child_does_not_see_the_spawners_exception():
    try:
        raise ValueError
    except ValueError:
        assert spawn(sys.exc_info).wait() == (None, None, None)
        error = None
        try:
            spawn(lambda: 1 / 0).wait()
        except ZeroDivisionError as caught:
            error = caught
        assert isinstance(error.__context__, ValueError) or error.__context__ is None


def test_bare_raise_after_a_switch_raises_ones_own():
    def work(n):
        with contextlib.suppress(KeyError):
            try:
                raise ValueError(n)
            except ValueError:
                try:
                    yield_now()
                    raise KeyError
                finally:
                    yield_now()
        try:
            try:
                raise ValueError(n)
            except ValueError:
                yield_now()
                raise
        except ValueError as error:
            return error.args[0]

    assert all_values(*[lambda n=n: work(n) for n in range(5)]) == [0, 1, 2, 3, 4]


def test_nested_finally_blocks_that_wait_run_inside_out():
    log = []

    def work(n):
        try:
            try:
                try:
                    sleep(1000)
                finally:
                    sleep(0.001)
                    log.append((n, 1))
            finally:
                yield_now()
                log.append((n, 2))
        finally:
            micro_pipe(1).put(1)
            log.append((n, 3))

    some = [spawn(work, n) for n in range(3)]
    sleep(0.001)
    for thread in some:
        thread.throw(LookupError())
    for thread in some:
        with pytest.raises(LookupError):
            thread.wait()
    for n in range(3):
        assert [step for k, step in log if k == n] == [1, 2, 3]


def test_generators_switch_in_the_middle():
    def generate(n):
        for i in range(5):
            try:
                raise ValueError(n)
            except ValueError:
                yield_now()
                yield n, i, sys.exc_info()[1].args[0]

    def work(n):
        return list(generate(n))

    assert all_values(*[lambda n=n: work(n) for n in range(4)]) == [
        [(n, i, n) for i in range(5)] for n in range(4)]


def test_one_generator_driven_by_several():
    def generate():
        for i in range(30):
            yield_now()
            yield i

    source, got = generate(), []

    def work():
        while True:
            try:
                got.append(next(source))
            except StopIteration:
                return "end"
            except ValueError:  # already executing
                yield_now()

    assert all_values(work, work, work) == ["end"] * 3
    assert got == list(range(30))


def test_coroutine_driven_by_hand_switches_inside():
    class Pause:
        def __await__(self):
            yield_now()
            yield "paused"

    async def work(n):
        await Pause()
        return n

    def drive(n):
        coroutine = work(n)
        assert coroutine.send(None) == "paused"
        yield_now()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value

    assert all_values(*[lambda n=n: drive(n) for n in range(5)]) == [0, 1, 2, 3, 4]


def test_recursion_limit_holds_in_each_and_the_process_lives():
    check_script("""
        import sys
        from microthread import spawn, sleep, yield_now
        def deep(n):
            yield_now()
            return deep(n + 1)
        def count(n=0):
            try:
                return count(n + 1)
            except RecursionError:
                return n
        def work():
            try:
                deep(0)
            except RecursionError:
                return count()
        main = count()
        some = [spawn(work) for _ in range(5)] + [spawn(count)]
        depths = [thread.wait() for thread in some]
        assert all(abs(depth - main) < 60 for depth in depths), (main, depths)
        assert abs(count() - main) < 10
        print("ok")
    """)


def test_changed_recursion_limit_counts_for_parked_ones_too():
    check_script("""
        import sys
        from microthread import spawn, deferred, sleep
        gate = deferred()
        def down(n):
            return down(n - 1) if n else gate.wait()
        def work():
            down(500)
            def more(n):
                return more(n - 1) + 1 if n else 0
            return more(2500)
        thread = spawn(work)
        sleep(0.001)
        sys.setrecursionlimit(3000)
        gate.callback(None)
        assert thread.wait() == 2500
        sys.setrecursionlimit(1000)
        try:
            spawn(work).wait()
        except RecursionError:
            print("ok")
    """)


def test_deep_recursion_in_many_at_once():
    def work(n):
        def down(k):
            if k == 0:
                yield_now()
                return 0
            return down(k - 1) + 1

        return [down(300) for _ in range(3)]

    assert all_values(*[lambda n=n: work(n) for n in range(50)]) == [[300] * 3] * 50


def test_switch_at_every_level_of_a_recursion():
    def down(k):
        yield_now()
        value = down(k - 1) + 1 if k else 0
        yield_now()
        return value

    assert all_values(*[lambda k=k: down(k) for k in range(100, 120)]) == list(range(100, 120))


def test_collector_with_a_thousand_parked():
    class Thing:
        pass

    gate, refs = deferred(), []

    def work(n):
        kept, cycle = Thing(), Thing()
        kept.n, cycle.me = n, cycle
        refs.append(weakref.ref(cycle))
        del cycle
        gate.wait()
        return kept.n

    some = [spawn(work, n) for n in range(1000)]
    sleep(0.001)
    gc.collect()
    assert all(ref() is None for ref in refs)
    for generation in (0, 1, 2):
        gc.collect(generation)
    gate.callback(None)
    assert [thread.wait() for thread in some] == list(range(1000))


def test_collections_while_switching():
    check_script("""
        import gc
        from microthread import micro_pipe, spawn, yield_now
        gc.set_threshold(1, 1, 1)
        class Node:
            def __del__(self):
                yield_now()
        def work(n):
            for _ in range(30):
                a, b = Node(), Node()
                a.b, b.a = b, a
                del a, b
                yield_now()
            return n
        some = [spawn(work, n) for n in range(10)]
        assert [thread.wait() for thread in some] == list(range(10))
        print("ok")
    """)


def test_traceback_shows_only_ones_own_frames():
    def inner(n):
        yield_now()
        raise ValueError(n)

    def outer(n):
        inner(n)

    some = [spawn(outer, n) for n in range(3)]
    for n, thread in enumerate(some):
        thread._join()
        error = thread.exception()
        assert error.args == (n,)
        names = [entry.name for entry in traceback.extract_tb(error.__traceback__)]
        assert names == ["outer", "inner"]


def test_stack_of_a_running_one_ends_at_its_function():
    def work():
        yield_now()
        return [entry.name for entry in traceback.extract_stack()]

    assert spawn(work).wait() == ["work"]


def test_locals_of_a_caller_survive_a_thousand_switches():
    def work(n):
        values = list(range(n, n + 50))
        for i in range(100):
            yield_now()
            assert values[i % 50] == n + i % 50
        return sum(values)

    assert all_values(*[lambda n=n: work(n) for n in range(10)]) == [
        sum(range(n, n + 50)) for n in range(10)]
