# SPDX-License-Identifier: MIT
"""Queue, LifoQueue, PriorityQueue, SimpleQueue: queue's contract, fairness, cancellation."""
import gc
import queue
import weakref

import pytest

from microthread import LifoQueue, PriorityQueue, Queue, SimpleQueue, sleep, spawn, threads, yield_now
from support import check_script

BOUNDED = [Queue, LifoQueue, PriorityQueue]
ALL = [*BOUNDED, SimpleQueue]
needs_shutdown = pytest.mark.skipif(not hasattr(queue, "ShutDown"), reason="queue has no shutdown")


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


@pytest.mark.parametrize("kind, order", [(Queue, [2, 3, 1]), (LifoQueue, [1, 3, 2]),
                                         (PriorityQueue, [1, 2, 3]), (SimpleQueue, [2, 3, 1])])
def test_order(kind, order):
    items = kind()
    assert items.empty()
    for n in (2, 3, 1):
        items.put(n)
    assert items.qsize() == 3 and not items.empty()
    assert [items.get() for _ in range(3)] == order
    assert isinstance(items, getattr(queue, kind.__name__)) or kind is SimpleQueue


@pytest.mark.parametrize("kind", ALL)
def test_empty_and_full(kind):
    items = kind()
    for get in (items.get_nowait, lambda: items.get(False), lambda: items.get(block=False, timeout=3),
                lambda: items.get(timeout=0.005), lambda: items.get(True, 0)):
        with pytest.raises(queue.Empty):
            get()
    with pytest.raises(ValueError):
        items.get(timeout=-1)
    items.put(1, False)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError):
            items.get(True, bad)
    items.put(2, True, 3)
    items.put_nowait(3)
    assert items.qsize() == 3
    if kind is SimpleQueue:
        return
    items = kind(maxsize=2)
    items.put(1)
    assert not items.full()
    items.put(2)
    assert items.full() and items.maxsize == 2
    for put in (lambda: items.put_nowait(3), lambda: items.put(3, False), lambda: items.put(3, timeout=0.005)):
        with pytest.raises(queue.Full):
            put()
    with pytest.raises(ValueError, match="timeout must be >= 0"):
        items.put(3, timeout=-1)
    assert items.qsize() == 2


@pytest.mark.parametrize("kind", ALL)
def test_getters_are_served_in_order_and_late_ones_last(kind):
    items, log = kind(), []
    for n in range(3):
        parked(lambda n=n: log.append((n, items.get())))
    for n in range(3):
        items.put(n)
    with pytest.raises(queue.Empty):
        items.get_nowait()  # they are the getters' already
    sleep(0)
    sleep(0)
    assert [n for n, _ in log] == [0, 1, 2] and sorted(item for _, item in log) == [0, 1, 2]
    items.put("late")
    assert items.get_nowait() == "late"


@pytest.mark.parametrize("kind", BOUNDED)
def test_putters_are_served_in_order(kind):
    items, log = kind(1), []
    items.put(0)
    for n in range(1, 4):
        parked(lambda n=n: (items.put(n), log.append(n)))
    got = [items.get()]
    with pytest.raises(queue.Full):
        items.put_nowait(9)  # the place is the first putter's
    got += [items.get() for _ in range(3)]
    sleep(0)
    assert got == [0, 1, 2, 3] and log == [1, 2, 3]


@pytest.mark.parametrize("kind", ALL)
def test_cancelled_getter_takes_nothing(kind):
    items = kind()
    first, second = parked(items.get), parked(items.get)
    first.cancel()
    items.put(1)
    first._join()
    assert first.cancelled() and second.wait() == 1 and items.qsize() == 0


@pytest.mark.parametrize("kind", BOUNDED)
def test_getter_cancelled_after_it_was_told_leaves_the_item(kind):
    items = kind()
    first, second = parked(items.get), parked(items.get)
    with items.mutex:
        items._put(1)
        items._balance()
        sleep(0)  # the first one waits for the mutex now
        first.cancel()
        sleep(0)
    first._join()
    assert second.wait() == 1 and first.cancelled()


@pytest.mark.parametrize("kind", BOUNDED)
def test_cancelled_putter_puts_nothing(kind):
    items = kind(1)
    items.put(1)
    first, second = parked(items.put, 2), parked(items.put, 3)
    first.cancel()
    assert items.get() == 1
    second.wait()
    first._join()
    assert items.get() == 3 and items.empty() and first.cancelled()


@pytest.mark.parametrize("kind", BOUNDED)
def test_task_done_and_join(kind):
    items, log = kind(), []
    items.join()
    with pytest.raises(ValueError):
        items.task_done()
    for n in range(3):
        items.put(n)

    def work():
        while True:
            items.get()
            sleep(0.001)
            log.append(1)
            items.task_done()

    worker = spawn(work)
    items.join()
    assert len(log) == 3 and items.unfinished_tasks == 0
    worker.cancel()


@pytest.mark.parametrize("kind", BOUNDED)
def test_items_taken_from_outside_under_the_mutex(kind):
    items = kind(2)
    items.put(1)
    items.put(2)
    with items.mutex:
        items.queue.clear()
    items.put(3, timeout=60)
    assert items.get(timeout=60) == 3
    getter = parked(items.get)
    items.put(1)
    with items.mutex:
        items.queue.clear()  # before the one that was told of it has run
    sleep(0)
    assert getter.state == "waiting"
    items.put(2)
    assert getter.wait() == 2


def test_conditions_of_the_queue_are_told():
    items, log = Queue(1), []

    def wait(condition, name):
        with condition:
            condition.wait()
            log.append(name)

    parked(wait, items.not_empty, "not empty")
    parked(wait, items.not_full, "not full")
    items.put(1)
    sleep(0)
    sleep(0)
    items.get()
    sleep(0)
    sleep(0)
    assert log == ["not empty", "not full"]


def test_subclass_with_its_own_order():
    class Unique(Queue):
        def _init(self, maxsize):
            self.queue = set()

        def _put(self, item):
            self.queue.add(item)

        def _get(self):
            return self.queue.pop()

    items = Unique()
    for n in (1, 1, 1):
        items.put(n)
    assert items.get() == 1 and items.empty()


def test_priorities_may_wait_while_they_are_compared():
    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            yield_now()
            return self.number < other.number

    items = PriorityQueue()
    for thread in [spawn(items.put, Item(n)) for n in (3, 1, 4, 1, 5, 9, 2, 6)]:
        thread.wait()
    assert [items.get().number for _ in range(8)] == [1, 1, 2, 3, 4, 5, 6, 9]


@needs_shutdown
@pytest.mark.parametrize("kind", BOUNDED)
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown(kind, immediate):
    items, log = kind(2), []

    def call(fn, *args):
        try:
            log.append(fn(*args))
        except queue.ShutDown:
            log.append("shut down")

    items.put(1)
    items.put(1)
    putters = [parked(call, items.put, 3) for _ in range(2)]
    joiner = parked(items.join)
    items.shutdown(immediate)
    for thread in putters:
        thread.wait()
    assert log == ["shut down"] * 2 and items.is_shutdown
    with pytest.raises(queue.ShutDown):
        items.put(1)
    if not immediate:
        assert joiner.state == "waiting"
        for _ in range(2):
            assert items.get() == 1
            items.task_done()
    for get in (items.get, items.get_nowait, lambda: items.get(timeout=1)):
        with pytest.raises(queue.ShutDown):
            get()
    joiner.wait()


@needs_shutdown
@pytest.mark.parametrize("kind", BOUNDED)
def test_shutdown_wakes_getters_even_those_that_come_in_between(kind):
    items, log = kind(), []

    def get():
        try:
            log.append(items.get())
        except queue.ShutDown:
            log.append("shut down")

    for _ in range(3):
        parked(get)
    items.put(7)
    items.shutdown()
    late = spawn(get)
    late.wait()
    sleep(0)
    assert log == [7, "shut down", "shut down", "shut down"]


def test_shutdown_is_there_where_queue_has_it():
    assert hasattr(queue, "ShutDown") == hasattr(queue.Queue(), "shutdown") == hasattr(Queue(), "shutdown")


def test_waiting_for_names_the_queue():
    empty, full, simple = Queue(), LifoQueue(1), SimpleQueue()
    full.put(1)
    texts = [parked(*call).waiting_for for call in ((empty.get,), (full.put, 2), (simple.get,),
                                                   (full.join,))]
    assert texts[0] == f"get from <Queue at {id(empty):#x}>"
    assert texts[1] == f"put into <LifoQueue at {id(full):#x}>"
    assert texts[2].startswith("get from <SimpleQueue at 0x") and "0 inside, 1 waiting>" in texts[2]
    assert texts[3].startswith("notice of <Condition at")
    assert "1 of 1 inside" in repr(full)
    for thread in threads()[1:]:
        thread.cancel()


def test_deadlock_error_names_the_queue():
    check_script("""
        import microthread as mt
        items = mt.Queue()
        try:
            items.get()
        except mt.DeadlockError as error:
            assert "main waits for get from <Queue at" in str(error) and "<string>:5" in str(error), error
            print("ok")
    """)


def test_simple_queue_is_collected_with_its_items():
    items = SimpleQueue()
    items.put(items)
    ref = weakref.ref(items)
    del items
    gc.collect()
    assert ref() is None
    deep = SimpleQueue()
    for _ in range(100_000):
        outer = SimpleQueue()
        outer.put(deep)
        deep = outer


def test_simple_queue_may_be_put_to_in_a_destructor():
    items = SimpleQueue()

    class Late:
        def __del__(self):
            items.put("gone")

    Late()
    assert items.get() == "gone"


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_one_whose_queue_is_never_empty_gives_way(kind):
    items = kind()
    items.put(1)

    def busy():
        while True:
            items.put(items.get())

    thread = spawn(busy)
    sleep(0.001)  # comes back only if the other one gives way
    thread.cancel()
    thread._join()
    assert thread.cancelled()
