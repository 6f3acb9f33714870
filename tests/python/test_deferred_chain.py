# SPDX-License-Identifier: MIT
"""The deferred's callbacks and errbacks, its cancellation, and what is reported."""
import concurrent.futures
import gc

import pytest

import microthread
from microthread import deferred, sleep, spawn, yield_now


@pytest.fixture
def reported(monkeypatch):
    gc.collect()  # what earlier tests have left is not reported here
    seen = []
    monkeypatch.setattr(microthread, "excepthook", seen.append)
    return seen


def test_callbacks_turn_the_result_into_the_next_one():
    one = deferred()
    one.add_callbacks(lambda value: value + 1).add_callbacks(str)
    one.callback(1)
    assert one.wait() == "2"


def test_callbacks_added_after_firing_run_at_once():
    one = deferred()
    one.callback(1)
    seen = []
    one.add_callbacks(seen.append)
    assert seen == [1] and one.wait() is None


def test_exception_goes_to_the_next_errback():
    one = deferred()
    one.add_callbacks(lambda value: 1 / 0)
    one.add_callbacks(lambda value: "skipped")
    one.add_callbacks(None, lambda error: type(error).__name__)
    one.callback(0)
    assert one.wait() == "ZeroDivisionError"


def test_errback_result_goes_to_the_next_callback():
    one = deferred()
    one.add_callbacks(None, lambda error: "mended")
    one.add_callbacks(str.upper)
    one.errback(KeyError())
    assert one.wait() == "MENDED"


def test_none_passes_through():
    one = deferred()
    one.add_callbacks(None).add_callbacks(None, None)
    one.callback("x")
    assert one.wait() == "x"
    bad = deferred()
    bad.add_callbacks(str)
    bad.errback(KeyError("k"))
    with pytest.raises(KeyError):
        bad.wait()


def test_returned_deferred_is_waited_for_first():
    outer, inner, order = deferred(), deferred(), []
    outer.add_callbacks(lambda value: inner)
    outer.add_callbacks(order.append)
    outer.callback(0)
    assert outer.fired and order == []
    inner.callback("inner")
    assert order == ["inner"]
    assert inner.wait() == "inner"


def test_returned_deferred_that_has_fired_is_used_at_once():
    outer, inner = deferred(), deferred()
    inner.callback(5)
    outer.add_callbacks(lambda value: inner).add_callbacks(lambda value: value * 2)
    outer.callback(0)
    assert outer.wait() == 10


def test_error_of_a_returned_deferred_goes_to_the_next_errback():
    outer, inner = deferred(), deferred()
    outer.add_callbacks(lambda value: inner).add_callbacks(None, repr)
    outer.callback(0)
    inner.errback(KeyError("k"))
    assert outer.wait() == "KeyError('k')"


def test_wait_gives_the_result_after_all_callbacks_so_far():
    outer, inner = deferred(), deferred()
    outer.add_callbacks(lambda value: inner)
    outer.callback("early")
    waiter = spawn(outer.wait)
    yield_now()
    assert not waiter.done()
    inner.callback("late")
    assert waiter.wait() == "late"


def test_callbacks_added_while_one_runs_go_before_those_still_queued():
    one, order = deferred(), []

    def first(value):
        order.append("first")
        one.add_callbacks(lambda value: order.append("nested 1"))
        one.add_callbacks(lambda value: order.append("nested 2"))

    one.add_callbacks(first)
    one.add_callbacks(lambda value: order.append("queued"))
    one.callback(None)
    assert order == ["first", "nested 1", "nested 2", "queued"]


def test_callback_may_wait():
    one = deferred()
    one.add_callbacks(lambda value: [sleep(0.001), value + 1][1])
    waiter = spawn(one.wait)
    one.callback(1)
    assert waiter.wait() == 2


def test_deferred_that_waits_for_itself_is_an_error():
    one = deferred()
    one.add_callbacks(lambda value: one)
    one.callback(0)
    with pytest.raises(RuntimeError, match="waits for it"):
        one.wait()


def test_circle_of_deferreds_is_an_error():
    one, two = deferred(), deferred()
    one.add_callbacks(lambda value: two)
    two.add_callbacks(lambda value: one)
    one.callback(0)
    two.callback(0)
    with pytest.raises(RuntimeError, match="waits for it"):
        one.wait()


def test_very_long_chain_needs_no_stack():
    chain = [deferred() for _ in range(50_000)]
    for one, following in zip(chain, chain[1:]):
        one.add_callbacks(lambda value, following=following: following)
    for one in chain[:-1]:
        one.callback(0)
    chain[-1].callback("end")
    assert chain[0].wait() == "end"


def test_cancel_fires_with_cancelled_error_and_is_never_reported(reported):
    one = deferred()
    assert one.cancel() is True
    with pytest.raises(concurrent.futures.CancelledError):
        one.wait()
    two = deferred()
    two.cancel()
    del one, two
    gc.collect()
    assert reported == []


def test_one_late_callback_after_a_cancel_is_ignored():
    one = deferred()
    one.cancel()
    one.callback(1)
    with pytest.raises(RuntimeError, match="has fired"):
        one.callback(2)
    with pytest.raises(concurrent.futures.CancelledError):
        one.wait()


def test_cancel_is_passed_on_to_the_deferred_it_waits_for():
    outer, inner = deferred(), deferred()
    outer.add_callbacks(lambda value: inner)
    outer.callback(0)
    assert outer.cancel() is True
    for one in (outer, inner):
        with pytest.raises(concurrent.futures.CancelledError):
            one.wait()


def test_cancel_of_a_complete_one_does_nothing():
    one = deferred()
    one.callback(1)
    assert one.cancel() is False and one.wait() == 1


def test_cancelled_error_can_be_handled():
    one = deferred()
    one.add_callbacks(None, lambda error: "handled")
    one.cancel()
    assert one.wait() == "handled"


def test_unhandled_error_is_reported_once(reported):
    one = deferred()
    one.errback(KeyError("k"))
    del one
    gc.collect()
    assert [args.exc_type for args in reported] == [KeyError]
    assert reported[0].micro_thread is None


def test_handled_error_is_not_reported(reported):
    one = deferred()
    one.add_callbacks(None, lambda error: None)
    one.errback(KeyError("k"))
    two, three = deferred(), deferred()
    two.add_callbacks(lambda value: three)
    two.add_callbacks(None, lambda error: None)
    two.callback(0)
    three.errback(KeyError("k"))
    del one, two, three
    gc.collect()
    assert reported == []


def test_reset_forgets_result_and_callbacks():
    one = deferred()
    one.add_callbacks(lambda value: value + 1)
    one.callback(1)
    one.reset()
    assert not one.fired
    one.callback(1)
    assert one.wait() == 1


def test_reset_while_callbacks_wait_is_an_error():
    outer, inner = deferred(), deferred()
    outer.add_callbacks(lambda value: inner)
    outer.callback(0)
    with pytest.raises(RuntimeError, match="cannot be reset"):
        outer.reset()
    inner.callback(0)
    outer.reset()


@pytest.mark.parametrize("args", [(3,), (None, "x"), ("x", None)])
def test_callbacks_must_be_callable_or_none(args):
    with pytest.raises(TypeError, match="must be callable or None"):
        deferred().add_callbacks(*args)


def test_pending_chains_in_cycles_are_collected():
    import weakref

    class Marker:
        pass

    outer, inner, marker = deferred(), deferred(), Marker()
    reference = weakref.ref(marker)
    outer.add_callbacks(lambda value: inner)
    outer.add_callbacks(lambda value, marker=marker: marker)
    outer.callback(0)
    del outer, inner, marker
    gc.collect()
    assert reference() is None
