# SPDX-License-Identifier: MIT
"""stdin and stdout of a micro-thread: put, take, take_from, the writing end, and what is left."""
import gc
import queue
import weakref

import pytest

from microthread import (PipeClosed, current, deferred, generate, micro_pipe, micro_thread, put, sleep,
                         spawn, take, take_from, threads, yield_now)
from support import check_script, run_script


def settle(turns=50):
    for _ in range(turns):
        yield_now()


def count(start=0):
    while True:
        put(start)
        start += 1


# ---- the writing end ----

def test_stdout_is_a_writing_end_that_does_not_keep_the_pipe():
    out, is_full = None, deferred()

    def write():
        nonlocal out
        out = current().stdout
        out.put("a")
        out.put("b", timeout=1)
        out.take_from("cd")
        out.put_nowait("e")
        assert not out.closed and "micro_pipe" in repr(out)
        with pytest.raises(queue.Full):
            for _ in range(20):
                out.put_nowait("f")
        with pytest.raises(TimeoutError):
            out.put("g", timeout=0)
        with pytest.raises(TimeoutError):
            out.put("g", timeout=0.001)
        is_full.callback(None)
        sleep(60)

    pipe = generate(write)
    is_full.wait()
    assert "".join(pipe.take_nowait() for _ in range(16)) == "abcde" + "f" * 11
    seen = weakref.ref(pipe)
    del pipe
    assert seen() is None and out.closed and "gone" in repr(out)
    for call in (out.put, out.put_nowait):
        with pytest.raises(PipeClosed):
            call(1)
    with pytest.raises(PipeClosed):
        out.take_from([1])
    out.close()
    threads()[1].cancel()
    settle()


def test_writer_may_close_its_stdout_and_go_on():
    end = deferred()

    def write():
        put(1)
        current().stdout.close(KeyError("early"))
        sleep(0.001)
        end.callback("went on")

    pipe = generate(write)
    assert next(pipe) == 1
    with pytest.raises(KeyError):
        next(pipe)
    assert end.wait(60) == "went on"


# ---- put, take_from, take ----

def test_current_pipes_are_needed():
    for call in (lambda: put(1), lambda: take_from([1]), take):
        with pytest.raises(RuntimeError, match="main has no std"):
            call()
        with pytest.raises(RuntimeError, match="has no std"):
            spawn(call).wait()


def test_any_pipe_can_be_set_as_stdin_and_stdout():
    source, sink = micro_pipe(), micro_pipe(1)
    source.put(1)
    source.close()

    def work():
        current().stdout = sink
        put(take() + 1)
        take_from([3, 4])
        with pytest.raises(EOFError):
            take()

    thread = micro_thread(work, stdin=source)
    thread.start()
    assert [sink.take() for _ in range(3)] == [2, 3, 4]
    thread.wait()


def test_objects_with_put_and_take_serve_as_well():
    class Own:
        def put(self, item):
            self.item = item

        def take(self):
            return self.item

    own = current().stdout = current().stdin = Own()
    put(1)
    assert take() == 1 and own.item == 1
    take_from("xy")
    assert take() == "y"
    current().stdout = current().stdin = None


def test_stdout_replaced_while_it_is_put_into():
    def write():
        spawn(setattr, current(), "stdout", None)
        for n in range(20):
            put(n)

    pipe = generate(write)
    assert next(pipe) == 0
    with pytest.raises(RuntimeError, match="stdout"):
        list(pipe)


def test_exception_of_the_iterable_comes_out_of_take_from():
    def broken():
        yield 1
        raise OSError("broken")

    pipe = generate(lambda: take_from(broken()))
    assert next(pipe) == 1
    with pytest.raises(OSError, match="broken"):
        next(pipe)


def test_spawned_ones_do_not_inherit_stdout():
    def write():
        with pytest.raises(RuntimeError):
            spawn(put, 1).wait()
        put(2)

    assert list(generate(write)) == [2]


def test_context_variables_reach_fn():
    import contextvars
    number = contextvars.ContextVar("number")
    number.set(5)
    assert list(generate(lambda: put(number.get()))) == [5]


# ---- garbage ----

def test_generators_that_are_dropped_leave_nothing():
    def some():
        put(1)
        put(2)

    def use(times):
        for _ in range(times):
            next(generate(some))

    use(100)
    settle()
    gc.collect()
    before = len(gc.get_objects())
    use(50_000)
    settle()
    gc.collect()
    assert len(gc.get_objects()) - before < 20 and threads() == [current()]


def test_cycle_through_a_pipe_is_collected_and_ends_its_writer():
    class Node:
        pass

    node = Node()
    node.pipe, node.self = generate(count), node
    next(node.pipe)
    del node
    gc.collect()
    settle()
    assert threads() == [current()]


def test_nothing_is_left_in_a_child_that_exits_with_half_read_generators():
    done = run_script("""
        import microthread
        from microthread import generate, put
        def count(name):
            try:
                n = 0
                while True:
                    put(n)
                    n += 1
            finally:
                print("end of", name)
        a = generate(count, "a")
        b = generate(count, "b")
        never = generate(count, "dropped")
        next(a), next(b), next(b)
        class Holder: pass
        holder = Holder()
        holder.own, holder.pipe = holder, b
        del b
        never = generate(count, "never ran")
        print("main ends")
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["end of a", "end of b", "end of dropped", "main ends"]


def test_forked_child_sees_its_writers_end():
    check_script("""
        import concurrent.futures, os, warnings
        warnings.simplefilter("ignore")
        from microthread import generate, put, sleep
        def count():
            for n in range(100):
                put(n)
        pipe = generate(count)
        assert next(pipe) == 0
        if pid := os.fork():
            _, status = os.waitpid(pid, 0)
            assert list(pipe) == list(range(1, 100))
            print("status", os.waitstatus_to_exitcode(status))
        else:
            sleep(0.001)
            try:
                list(pipe)
            except concurrent.futures.CancelledError:
                os._exit(7)
    """, "status 7\n")
