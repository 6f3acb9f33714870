# SPDX-License-Identifier: MIT
"""How locks show themselves: repr, waiting_for, and what a DeadlockError says of them."""
import threading

import pytest

from microthread import (
    BoundedSemaphore,
    DeadlockError,
    Event,
    Lock,
    RLock,
    Semaphore,
    micro_thread,
    sleep,
    spawn,
    threads,
    yield_now,
)
from support import check_script


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_waiting_for_names_what_and_who():
    lock, rlock, semaphore, event = Lock(), RLock(), Semaphore(0), Event()
    holder = micro_thread(lambda: (lock.acquire(), rlock.acquire(), rlock.acquire(), event.wait()),
                          name="holder")
    holder.start()
    sleep(0)
    texts = [parked(wait).waiting_for for wait in (lock.acquire, rlock.acquire, semaphore.acquire)]
    assert texts[0].startswith("acquire <locked Lock object at 0x") and ": by holder, 1 waiting>" in texts[0]
    assert texts[1].startswith("acquire <locked RLock object count=2 at 0x") and ": by holder" in texts[1]
    assert texts[2].startswith("acquire <Semaphore at 0x") and "0 free, 1 waiting>" in texts[2]
    assert holder.waiting_for.startswith("setting of <Event at 0x")
    assert repr(Lock()).startswith("<unlocked Lock object at 0x") and "1 of 1 free" in repr(BoundedSemaphore())
    for thread in threads()[1:]:
        thread.cancel()


def test_deadlock_error_lists_who_has_what():
    check_script("""
        import microthread as mt
        a, b = mt.Lock(), mt.RLock()
        def one():
            with a:
                mt.yield_now()
                b.acquire()
        def two():
            with b:
                mt.yield_now()
                a.acquire()
        threads = [mt.micro_thread(one, name="one"), mt.micro_thread(two, name="two")]
        for thread in threads:
            thread.start()
        try:
            threads[0].wait()
        except mt.DeadlockError as error:
            text = str(error)
            assert "one waits for acquire <locked RLock object" in text and ": by two" in text, text
            assert "two waits for acquire <locked Lock object" in text and ": by one" in text, text
            assert "<string>:7" in text and "<string>:11" in text, text
            print("ok")
    """)


def test_deadlock_on_a_lock_of_ones_own():
    lock = Lock()
    lock.acquire()
    if threading.active_count() == 1:
        with pytest.raises(DeadlockError, match="acquire <locked Lock object at"):
            lock.acquire()
    assert lock.locked()
