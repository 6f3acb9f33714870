# SPDX-License-Identifier: MIT
"""Queue and LifoQueue where nobody waits: done in the core, with all that is promised of the slow way."""
import collections
import queue
import threading

import pytest

from microthread import LifoQueue, PriorityQueue, Queue, sleep, spawn, yield_now
from support import until_all_wait


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_put_and_get_wait_for_one_who_holds_the_mutex(kind):
    items = kind()
    with items.mutex:
        putter, getter = spawn(items.put, 1), spawn(items.get)
        yield_now()
        assert not putter.done() and not getter.done() and not items.queue
    assert putter.wait() is None and getter.wait() == 1


def test_container_may_be_changed_under_the_mutex():
    items = Queue()
    items.put(1)
    with items.mutex:
        items.queue.clear()
    assert items.empty()
    items.queue = collections.deque("ab")
    items.put("c")
    assert [items.get() for _ in range(3)] == ["a", "b", "c"]


def test_subclass_with_methods_of_its_own_is_asked():
    class Own(Queue):
        def _put(self, item):
            super()._put(-item)

    class Other(LifoQueue):
        def _get(self):
            return str(super()._get())

    items, others = Own(), Other()
    for n in range(3):
        items.put(n)
        others.put(n)
    assert [items.get() for _ in range(3)] == [0, -1, -2]
    assert [others.get() for _ in range(3)] == ["2", "1", "0"]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_conditions_are_notified(kind):
    items = kind(1)

    def wait_for(condition):
        with condition:
            return condition.wait(60)

    waiter = spawn(wait_for, items.not_empty)
    until_all_wait(waiter)
    items.put(1)
    assert waiter.wait() is True
    waiter = spawn(wait_for, items.not_full)
    until_all_wait(waiter)
    items.get()
    assert waiter.wait() is True


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_maxsize_may_be_changed_and_may_be_anything_that_compares(kind):
    items = kind(1)
    items.put(1)
    with pytest.raises(queue.Full):
        items.put_nowait(2)
    items.maxsize = 2
    items.put(2)
    with pytest.raises(queue.Full):
        items.put(3, timeout=0)
    for most in (float("inf"), 10**30, True + 4):
        items.maxsize = most
        items.put(3)
    assert items.qsize() == 5


def test_tasks_are_counted():
    items = Queue()
    for n in range(3):
        items.put(n)
    assert items.unfinished_tasks == 3
    joiner = spawn(items.join)
    for _ in range(3):
        items.get()
        yield_now()
        assert not joiner.done()
        items.task_done()
    joiner.wait()
    with pytest.raises(ValueError):
        items.task_done()


@pytest.mark.skipif(not hasattr(queue, "ShutDown"), reason="queue has no shutdown")
def test_after_shutdown_nothing_goes_in():
    items = Queue()
    items.put(1)
    items.shutdown()
    assert items.is_shutdown
    with pytest.raises(queue.ShutDown):
        items.put(2)
    assert items.get() == 1
    with pytest.raises(queue.ShutDown):
        items.get()


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_item_promised_to_a_getter_is_not_taken_by_a_later_one(kind):
    items, order = kind(), []
    first = spawn(lambda: order.append(("first", items.get())))
    until_all_wait(first)
    items.put(1)
    second = spawn(lambda: order.append(("second", items.get())))
    with pytest.raises(queue.Empty):
        items.get_nowait()
    first.wait()
    items.put(2)
    second.wait()
    assert order == [("first", 1), ("second", 2)]


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_place_promised_to_a_putter_is_not_taken_by_a_later_one(kind):
    items = kind(1)
    items.put(0)
    first = spawn(items.put, 1)
    until_all_wait(first)
    assert items.get() == 0
    with pytest.raises(queue.Full):
        items.put_nowait(2)
    first.wait()
    assert items.get() == 1


def test_between_os_threads():
    there, back = Queue(), Queue(3)

    def elsewhere():
        while (item := there.get()) is not None:
            back.put(item + 1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    putter = spawn(lambda: [there.put(n) for n in range(500)])
    assert [back.get() for _ in range(500)] == list(range(1, 501))
    putter.wait()
    there.put(None)
    thread.join()


def test_one_who_always_finds_items_gives_way_and_can_be_cancelled():
    items, seen = Queue(), []

    def work():
        while True:
            items.put(items.qsize())
            items.get()

    thread = spawn(work)
    other = spawn(seen.append, 1)
    other.wait()
    thread.cancel()
    sleep(0)
    thread._join()
    assert thread.cancelled() and seen


@pytest.mark.parametrize("call", [
    lambda items: items.put(), lambda items: items.put(1, 2, 3, 4), lambda items: items.put(thing=1),
    lambda items: items.get(1, 2, 3), lambda items: items.get(item=1)])
def test_bad_arguments_are_type_errors(call):
    with pytest.raises(TypeError):
        call(Queue())


def test_base_that_was_not_prepared_is_of_no_use_but_does_no_harm():
    class Own(Queue):
        def __init__(self):
            pass

    for call in (lambda: Own().put(1), lambda: Own().get(), lambda: Own().maxsize):
        with pytest.raises(AttributeError):
            call()
