# SPDX-License-Identifier: MIT
"""micro_pipe: capacity, order, time-outs, closing, iteration."""
import queue

import pytest

from microthread import PipeClosed, deferred, micro_pipe, sleep, spawn, yield_now
from support import check_script


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_items_come_out_in_order():
    pipe = micro_pipe()
    for n in range(1000):
        pipe.put(n)
    assert len(pipe) == 1000 and [pipe.take() for _ in range(1000)] == list(range(1000))
    assert len(pipe) == 0


def test_take_gives_the_same_object():
    pipe, thing = micro_pipe(), object()
    pipe.put(thing)
    assert pipe.take() is thing


def test_unbounded_put_never_waits():
    pipe, ran = micro_pipe(), []
    spawn(ran.append, 1)
    for n in range(20):
        pipe.put_nowait(n)
    assert len(pipe) == 20 and pipe.capacity is None
    yield_now()


@pytest.mark.parametrize("capacity", [None, 0, 1, 2, 7, 128])
@pytest.mark.parametrize("writers", [1, 3])
@pytest.mark.parametrize("readers", [1, 3])
def test_nothing_is_lost_or_doubled(capacity, writers, readers):
    pipe, got = micro_pipe(capacity), []

    def write(start):
        for n in range(50):
            pipe.put(start + n)

    def read():
        for item in pipe:
            got.append(item)

    some = [spawn(write, 100 * w) for w in range(writers)]
    more = [spawn(read) for _ in range(readers)]
    for thread in some:
        thread.wait()
    pipe.close()
    for thread in more:
        thread.wait()
    assert sorted(got) == [100 * w + n for w in range(writers) for n in range(50)]
    for w in range(writers if readers == 1 else 0):
        mine = [item for item in got if item // 100 == w]
        assert mine == sorted(mine)


def test_put_waits_while_the_pipe_is_full():
    pipe = micro_pipe(2)
    pipe.put(1)
    pipe.put(2)
    writer = parked(pipe.put, 3)
    assert writer.state == "waiting" and len(pipe) == 2
    assert pipe.take() == 1
    assert len(pipe) == 2  # the waiting one's object moved up
    writer.wait()
    assert [pipe.take(), pipe.take()] == [2, 3]


def test_rendezvous_put_returns_when_the_object_was_taken():
    pipe = micro_pipe(0)
    writer = parked(pipe.put, "x")
    assert writer.state == "waiting" and len(pipe) == 0 and pipe.capacity == 0
    assert pipe.take() == "x"
    assert writer.wait() is None
    reader = parked(pipe.take)
    pipe.put("y")
    assert reader.wait() == "y"


def test_rendezvous_without_a_reader_is_full():
    pipe = micro_pipe(0)
    with pytest.raises(queue.Full):
        pipe.put_nowait(1)
    with pytest.raises(queue.Empty):
        pipe.take_nowait()
    with pytest.raises(TimeoutError):
        pipe.put(1, 0)


def test_nowait_forms_use_the_errors_of_queue():
    pipe = micro_pipe(1)
    with pytest.raises(queue.Empty):
        pipe.take_nowait()
    pipe.put_nowait(1)
    with pytest.raises(queue.Full):
        pipe.put_nowait(2)
    assert pipe.take_nowait() == 1


def test_time_out_leaves_the_pipe_as_it_was():
    pipe = micro_pipe(1)
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            pipe.take(timeout=timeout)
    pipe.put("a", 0)
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            pipe.put("b", timeout=timeout)
    assert len(pipe) == 1 and pipe.take(5) == "a" and len(pipe) == 0


def test_timed_out_reader_does_not_swallow_an_item():
    pipe = micro_pipe()
    reader = spawn(pipe.take, 0.001)
    with pytest.raises(TimeoutError):
        reader.wait()
    pipe.put(1)
    assert len(pipe) == 1


def test_item_put_in_time_is_taken_before_the_time_out():
    pipe = micro_pipe()
    reader = parked(pipe.take, 60)
    pipe.put(1)
    assert reader.wait() == 1


def test_peak_is_the_most_it_ever_held():
    pipe = micro_pipe()
    assert pipe.peak == 0
    for n in range(5):
        pipe.put(n)
    for n in range(5):
        pipe.take()
    pipe.put(1)
    assert pipe.peak == 5


def test_take_from_puts_every_object():
    pipe = micro_pipe()
    assert pipe.take_from(iter(range(5))) is None
    assert [pipe.take() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_take_from_waits_for_room():
    pipe = micro_pipe(2)
    writer = parked(pipe.take_from, "abcdef")
    assert len(pipe) == 2
    assert "".join(pipe.take() for _ in range(6)) == "abcdef"
    writer.wait()


def test_take_from_another_pipe():
    first, second = micro_pipe(1), micro_pipe(1)
    mover = spawn(second.take_from, first)
    writer = spawn(first.take_from, range(10))
    assert [second.take() for _ in range(10)] == list(range(10))
    writer.wait()
    first.close()
    mover.wait()


def test_take_from_passes_on_what_the_iterable_raises():
    def source():
        yield 1
        raise LookupError("source")

    pipe = micro_pipe()
    with pytest.raises(LookupError):
        pipe.take_from(source())
    assert pipe.take() == 1


def test_iteration_ends_at_the_close():
    pipe = micro_pipe()
    pipe.take_from("abc")
    pipe.close()
    assert list(pipe) == ["a", "b", "c"] and list(pipe) == []


def test_closed_pipe_drains_then_raises_eof():
    pipe = micro_pipe()
    pipe.put(1)
    assert pipe.closed is False
    assert pipe.close() is None
    assert pipe.closed is True and pipe.take() == 1
    for call in (pipe.take, pipe.take_nowait, lambda: pipe.take(0), lambda: pipe.take(1)):
        with pytest.raises(EOFError):
            call()
    with pytest.raises(StopIteration):
        next(pipe)


def test_close_with_an_exception_gives_it_to_every_reader():
    pipe, error = micro_pipe(), ValueError("broken")
    readers = [parked(pipe.take), parked(next, pipe), parked(list, pipe)]
    pipe.close(error)
    for reader in readers:
        with pytest.raises(ValueError) as caught:
            reader.wait()
        assert caught.value is error
    for call in (pipe.take, pipe.take_nowait, lambda: next(pipe), lambda: pipe.take(timeout=0)):
        with pytest.raises(ValueError, match="broken"):
            call()


def test_close_with_an_exception_lets_readers_drain_first():
    pipe = micro_pipe()
    pipe.put(1)
    pipe.close(exception=KeyError)
    assert pipe.take() == 1
    with pytest.raises(KeyError):
        pipe.take()


def test_close_twice_keeps_the_first():
    pipe = micro_pipe()
    pipe.close()
    pipe.close(ValueError())
    with pytest.raises(EOFError):
        pipe.take()


def test_put_on_a_closed_pipe_raises():
    pipe = micro_pipe()
    pipe.close(ValueError())
    for call in (pipe.put, pipe.put_nowait):
        with pytest.raises(PipeClosed) as caught:
            call(1)
        assert isinstance(caught.value, BrokenPipeError)
    with pytest.raises(PipeClosed):
        pipe.take_from([1])
    assert len(pipe) == 0


@pytest.mark.parametrize("capacity", [0, 1])
def test_close_wakes_waiting_writers_whose_objects_are_not_put(capacity):
    pipe = micro_pipe(capacity)
    for n in range(capacity):
        pipe.put(n)
    writers = [parked(pipe.put, "lost?") for _ in range(3)]
    pipe.close()
    for writer in writers:
        with pytest.raises(PipeClosed):
            writer.wait()
    assert list(pipe) == list(range(capacity))


def test_with_closes_at_the_end():
    with micro_pipe() as pipe:
        pipe.put(1)
    assert pipe.closed and list(pipe) == [1]


def test_with_closes_with_the_exception_of_the_block():
    pipe = micro_pipe()
    with pytest.raises(ValueError, match="block"):
        with pipe:
            raise ValueError("block")
    with pytest.raises(ValueError, match="block"):
        pipe.take()


def test_with_closes_plainly_when_no_exception_proper_ends_it():
    pipe = micro_pipe()
    with pytest.raises(KeyboardInterrupt):
        with pipe:
            raise KeyboardInterrupt
    with pytest.raises(EOFError):
        pipe.take()


def test_empty_pipe_is_true():
    assert bool(micro_pipe()) is True and len(micro_pipe()) == 0


def test_repr_shows_the_filling():
    pipe = micro_pipe(3)
    pipe.put(1)
    assert "1 of 3" in repr(pipe) and repr(pipe).startswith("<micro_pipe")
    pipe.close()
    assert "closed" in repr(pipe)


def test_pipe_through_pipe():
    pipe, inner = micro_pipe(), micro_pipe()
    pipe.put(inner)
    reader = parked(lambda: pipe.take().take())
    inner.put("found")
    assert reader.wait() == "found"


def test_items_are_dropped_with_the_pipe():
    import weakref

    class Thing:
        pass

    pipe, thing = micro_pipe(), Thing()
    ref = weakref.ref(thing)
    pipe.put(thing)
    del thing
    assert ref() is not None
    del pipe
    assert ref() is None


def test_cycle_through_a_pipe_is_collected():
    import gc
    import weakref

    pipe = micro_pipe()
    pipe.put(pipe)
    ref = weakref.ref(pipe)
    del pipe
    gc.collect()
    assert ref() is None


def test_used_from_another_os_thread_is_refused():
    import threading

    pipe, errors = micro_pipe(), []
    pipe.put(1)

    def work():
        for call in (pipe.take, lambda: pipe.put(1), pipe.close, lambda: next(pipe),
                     lambda: pipe.put_nowait(1), pipe.take_nowait, lambda: pipe.take_from([])):
            try:
                call()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 7 and len(pipe) == 1 and not pipe.closed
    assert all("microthread.interpreters.create_channel" in text for text in errors)


def test_long_chain_of_pipes_is_freed_without_overflow():
    check_script("""
        import microthread
        for make in (
            lambda inner: (lambda p: (p.put_nowait(inner), p)[1])(microthread.micro_pipe()),
            lambda inner: (lambda d: (d.callback(inner), d)[1])(microthread.deferred()),
            lambda inner: microthread.micro_thread(print, (inner,)),
        ):
            chain = None
            for _ in range(100_000):
                chain = make(chain)
            del chain
            def work():
                chain = None
                for _ in range(100_000):
                    chain = make(chain)
            microthread.spawn(work).wait()
        print("ok")
    """)


def test_finalizer_of_an_item_may_use_the_pipe():
    pipe, log = micro_pipe(1), deferred()

    class Thing:
        def __del__(self):
            pipe.put("from __del__", 0)
            log.callback(pipe.take())

    spawn(lambda thing: None, Thing()).wait()
    sleep(0)
    assert log.wait(60) == "from __del__"
