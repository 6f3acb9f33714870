# SPDX-License-Identifier: MIT
"""deferred: callback, errback, wait, fired, reset, from this OS thread and others."""
import threading

import pytest

import microthread as mt
from microthread import deferred, sleep, spawn, yield_now


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_wait_gives_the_value_fired_before():
    d = deferred()
    assert d.fired is False
    assert d.callback("x") is None
    assert d.fired is True and d.wait() == "x" and d.wait(0) == "x"


def test_wait_suspends_until_fired():
    d = deferred()
    waiter = parked(d.wait)
    assert waiter.state == "waiting"
    d.callback(None)
    assert waiter.wait() is None


def test_errback_raises_the_same_exception():
    d, error = deferred(), ValueError("x")
    waiter = parked(d.wait)
    assert d.errback(error) is None
    for call in (waiter.wait, d.wait):
        with pytest.raises(ValueError) as caught:
            call()
        assert caught.value is error
    assert d.fired


def test_errback_takes_a_class():
    d = deferred()
    d.errback(KeyError)
    with pytest.raises(KeyError):
        d.wait()


@pytest.mark.parametrize("first", ["callback", "errback"])
@pytest.mark.parametrize("second", ["callback", "errback"])
def test_firing_twice_is_refused(first, second):
    d = deferred()
    getattr(d, first)(ValueError())
    with pytest.raises(RuntimeError, match="fired"):
        getattr(d, second)(KeyError())
    if first == "errback":
        with pytest.raises(ValueError):
            d.wait()
    else:
        assert isinstance(d.wait(), ValueError)


def test_waiters_wake_in_order():
    d, order = deferred(), []
    waiters = [parked(lambda n=n: order.append((n, d.wait()))) for n in range(10)]
    d.callback("v")
    for waiter in waiters:
        waiter.wait()
    assert order == [(n, "v") for n in range(10)]


def test_time_out_leaves_it_unfired():
    d = deferred()
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            d.wait(timeout)
    with pytest.raises(TimeoutError):
        d.wait(timeout=0.001)
    d.callback(1)
    assert d.wait(timeout=None) == 1


def test_reset_readies_it_for_use_again():
    d = deferred()
    for n in range(3):
        d.callback(n)
        assert d.wait() == n
        assert d.reset() is None
        assert not d.fired
    waiter = parked(d.wait)
    d.callback("again")
    assert waiter.wait() == "again"


def test_reset_of_an_unfired_one_does_nothing():
    d = deferred()
    d.reset()
    assert not d.fired


def test_reset_while_somebody_waits_is_refused():
    d = deferred()
    waiter = parked(d.wait)
    with pytest.raises(RuntimeError, match="waits"):
        d.reset()
    d.callback(1)  # fired, but the waiter has not had its turn
    with pytest.raises(RuntimeError, match="waits"):
        d.reset()
    assert waiter.wait() == 1
    d.reset()


def test_reset_after_waiters_were_cancelled_or_timed_out():
    d = deferred()
    first, second = parked(d.wait), spawn(d.wait, 0.001)
    first.cancel()
    first._join()
    with pytest.raises(TimeoutError):
        second.wait()
    d.reset()


def test_value_is_dropped_at_reset():
    import weakref

    class Thing:
        pass

    d, thing = deferred(), Thing()
    ref = weakref.ref(thing)
    d.callback(thing)
    del thing
    d.reset()
    assert ref() is None


def test_fired_from_another_os_thread_wakes_at_once():
    d = deferred()
    go = threading.Event()

    def work():
        go.wait()
        d.callback(threading.get_ident())

    thread = threading.Thread(target=work)
    thread.start()
    spawn(go.set)
    assert d.wait(60) == thread.ident
    thread.join()


def test_failed_from_another_os_thread_raises_here():
    d = deferred()
    thread = threading.Thread(target=d.errback, args=(ValueError("there"),))
    thread.start()
    with pytest.raises(ValueError, match="there"):
        d.wait(60)
    thread.join()


def test_waiters_of_several_os_threads_all_wake():
    d, got, ready = deferred(), [], threading.Semaphore(0)

    def work():
        def wait():
            ready.release()
            got.append(d.wait(60))

        some = [spawn(wait) for _ in range(5)]
        for thread in some:
            thread.wait(60)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        ready.acquire()
    d.callback("all")
    for thread in threads:
        thread.join()
    assert got == ["all"] * 20


def test_many_fired_by_many_os_threads():
    some = [deferred() for _ in range(400)]
    threads = [threading.Thread(target=lambda part=part: [d.callback(d) for d in part])
               for part in (some[0::4], some[1::4], some[2::4], some[3::4])]
    waiters = [spawn(d.wait, 60) for d in some]
    for thread in threads:
        thread.start()
    assert [waiter.wait() for waiter in waiters] == some
    for thread in threads:
        thread.join()


def test_unfetched_exception_is_reported_when_dropped(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", seen.append)
    d = deferred()
    d.errback(ValueError("nobody"))
    assert seen == []
    del d
    assert [(args.exc_type, str(args.exc_value), args.micro_thread) for args in seen] == [
        (ValueError, "nobody", None)]


def test_unfetched_exception_is_reported_at_reset(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", seen.append)
    d = deferred()
    d.errback(ValueError("nobody"))
    d.reset()
    assert len(seen) == 1
    d.callback(1)
    assert d.wait() == 1


def test_fetched_exception_is_not_reported(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", seen.append)
    d = deferred()
    d.errback(ValueError("fetched"))
    with pytest.raises(ValueError):
        d.wait()
    del d
    assert seen == []


def test_repr_shows_the_state():
    d = deferred()
    assert "pending" in repr(d)
    d.callback(1)
    assert "fired" in repr(d)


def test_cycle_through_a_deferred_is_collected():
    import gc
    import weakref

    d = deferred()
    d.callback(d)
    ref = weakref.ref(d)
    del d
    gc.collect()
    assert ref() is None


def test_value_of_an_exception_type_is_a_value():
    d, error = deferred(), ValueError()
    d.callback(error)
    assert d.wait() is error


def test_wait_in_a_tight_ring():
    def link(source, target):
        target.callback(source.wait() + 1)

    ring = [deferred() for _ in range(200)]
    for source, target in zip(ring, ring[1:]):
        spawn(link, source, target)
    sleep(0.001)
    ring[0].callback(0)
    assert ring[-1].wait(60) == 199


def test_subclass_has_an_init_of_its_own():
    class Named(deferred):
        def __init__(self, name):
            super().__init__()
            self.name = name

    named = Named("x")
    named.callback(5)
    assert (named.name, named.wait()) == ("x", 5)
    with pytest.raises(TypeError):
        deferred(5)
