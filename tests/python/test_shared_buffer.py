# SPDX-License-Identifier: MIT
"""SharedBuffer: memory that clones share, its atomic words, and waiting for them."""
import array
import gc
import io
import pickle
import sys
import threading
import weakref

import pytest

from microthread import Cancelled, _core, sleep, spawn, timeout, yield_now
from microthread.interpreters import CloneError, SharedBuffer, clone
from support import check_script


def test_fresh_buffer_is_zeroed_and_writable():
    shared = SharedBuffer(1000)
    assert len(shared) == 1000 and bytes(shared) == bytes(1000) and not shared.readonly
    memoryview(shared)[3:5] = b"ab"
    assert bytes(shared)[2:6] == b"\0ab\0"
    assert len(SharedBuffer(0)) == 0
    assert SharedBuffer(size=8).load(0) == 0


def test_clone_shares_the_memory():
    shared = SharedBuffer(16)
    copy, other = clone([shared, shared])
    assert copy is other and copy is not shared
    copy.store(8, -5)
    assert shared.load(8) == -5


def test_words_are_signed_and_operations_give_the_old_value():
    shared = SharedBuffer(24)
    assert shared.store(8, 5) == 0
    assert shared.add(8, -7) == 5
    assert shared.exchange(8, 9) == -2
    assert shared.compare_exchange(8, 1, 2) == 9
    assert shared.compare_exchange(8, 9, 2**63 - 1) == 9
    assert shared.add(8, 1) == 2**63 - 1
    assert shared.load(8) == -2**63
    assert int.from_bytes(memoryview(shared)[8:16], sys.byteorder, signed=True) == -2**63
    assert shared.load(0) == shared.load(16) == 0


@pytest.mark.parametrize("size, offset, error, text", [
    (16, 16, IndexError, r"^offset must be that of 8 bytes inside the buffer of 16, got 16$"),
    (16, 9, IndexError, "got 9$"),
    (16, -8, IndexError, "got -8$"),
    (7, 0, IndexError, "buffer of 7"),
    (16, 2**70, IndexError, "fit"),
    (16, 4, ValueError, r"^offset must be a multiple of 8, got 4$"),
    (16, "a", TypeError, "str"),
])
def test_bad_offset_is_refused_by_every_method(size, offset, error, text):
    shared = SharedBuffer(size)
    for call in (lambda: shared.load(offset), lambda: shared.store(offset, 1), lambda: shared.add(offset, 1),
                 lambda: shared.exchange(offset, 1), lambda: shared.compare_exchange(offset, 0, 1),
                 lambda: shared.wait(offset, 0), lambda: shared.notify(offset)):
        with pytest.raises(error, match=text):
            call()


def test_bad_arguments_are_refused():
    shared = SharedBuffer(8)
    with pytest.raises(ValueError, match="^size must be >= 0, got -1$"):
        SharedBuffer(-1)
    with pytest.raises(TypeError):
        SharedBuffer("a")
    with pytest.raises(MemoryError):
        SharedBuffer(sys.maxsize)
    with pytest.raises(OverflowError):
        shared.store(0, 2**63)
    with pytest.raises(TypeError):
        shared.add(0, 1.5)
    with pytest.raises(TypeError, match=r"^store\(\) takes 2 arguments, got 1$"):
        shared.store(0)
    with pytest.raises(ValueError, match="^count must be >= 0, got -1$"):
        shared.notify(0, -1)
    with pytest.raises(ValueError, match="timeout must be >= 0"):
        shared.wait(0, 0, -1)
    with pytest.raises(TypeError):
        SharedBuffer.from_buffer(5)


def test_readonly_buffer_can_only_be_read():
    shared = SharedBuffer(16)
    view = shared.toreadonly()
    shared.store(0, 5)
    for one in (view, clone(view), view.toreadonly(), SharedBuffer.from_buffer(bytes(16))):
        assert one.readonly and one.load(8) == 0 and memoryview(one).readonly
        for call in (lambda: one.store(0, 1), lambda: one.add(0, 1), lambda: one.exchange(0, 1),
                     lambda: one.compare_exchange(0, 0, 1)):
            with pytest.raises(BufferError, match="read-only"):
                call()
    assert clone(view).load(0) == 5
    del shared
    assert view.load(0) == 5
    assert view.notify(0) == 0 and view.wait(0, 4) is False


def test_from_buffer_shares_and_holds_the_exporter():
    data = bytearray(16)
    shared = SharedBuffer.from_buffer(data)
    shared.store(0, 255)
    assert data[0] == 255 or data[7] == 255
    copy = clone(shared)
    with pytest.raises(BufferError):
        data.append(1)
    del shared
    with pytest.raises(BufferError):
        data.append(1)
    del copy
    data.append(1)


def test_from_buffer_of_another_keeps_its_memory():
    shared = SharedBuffer(8)
    other = SharedBuffer.from_buffer(shared)
    other.store(0, 3)
    assert shared.load(0) == 3
    with pytest.raises(BufferError):
        SharedBuffer.from_buffer(memoryview(bytes(16))[::2])


def test_unaligned_memory_has_no_words():
    shared = SharedBuffer.from_buffer(memoryview(bytearray(17))[1:])
    with pytest.raises(ValueError, match="does not begin at a multiple of 8"):
        shared.load(0)


def test_wait_on_another_value_is_false_at_once():
    shared = SharedBuffer(8)
    assert shared.wait(0, 1) is False
    assert shared.wait(0, 1, 0) is False


def test_wait_times_out_and_leaves_nothing_behind():
    shared = SharedBuffer(8)
    for seconds in (0, 0.001):
        with pytest.raises(TimeoutError):
            shared.wait(0, 0, timeout=seconds)
    assert shared.notify(0) == 0


def test_notify_wakes_in_order_and_as_many_as_asked_for():
    shared, log = SharedBuffer(16), []
    waiters = [spawn(lambda n=n: log.append((n, shared.wait(0, 0)))) for n in range(5)]
    other = spawn(shared.wait, 8, 0)
    yield_now()
    assert waiters[0].waiting_for.startswith("notify of <SharedBuffer of 16 bytes")
    assert shared.notify(0, 0) == 0
    assert shared.notify(0, 2) == 2
    yield_now()
    assert log == [(0, True), (1, True)]
    assert shared.notify(offset=0, count=None) == 3
    yield_now()
    assert [n for n, _ in log] == [0, 1, 2, 3, 4]
    assert not other.done() and shared.notify(8, 100) == 1
    assert other.wait() is True


def test_cancelled_waiter_does_not_count():
    shared = SharedBuffer(8)
    first, second = spawn(shared.wait, 0, 0), spawn(shared.wait, 0, 0)
    yield_now()
    first.cancel()
    assert shared.notify(0, 1) == 1
    assert second.wait() is True
    first._join()
    assert first.cancelled()


def test_wait_inside_a_timeout_block():
    shared = SharedBuffer(8)
    with pytest.raises(TimeoutError):
        with timeout(0.001):
            shared.wait(0, 0)
    assert shared.notify(0) == 0


def test_waiter_that_is_notified_and_cancelled_at_once_has_been_notified():
    shared = SharedBuffer(8)
    waiter = spawn(shared.wait, 0, 0)
    yield_now()
    assert shared.notify(0) == 1
    waiter.cancel()
    assert waiter.wait() is True


def test_other_os_thread_wakes_a_waiter():
    shared = SharedBuffer(16)

    def work():
        while shared.notify(0) == 0:
            sleep(0.001)
        assert shared.wait(8, 0) is True
    thread = threading.Thread(target=work)
    thread.start()
    assert shared.wait(0, 0) is True
    while shared.notify(8) == 0:
        sleep(0.001)
    thread.join()


def test_counter_of_four_os_threads_adds_up():
    shared = SharedBuffer(16)

    def work():
        for _ in range(1000):
            while shared.compare_exchange(8, 0, 1) == 1:
                yield_now()
            shared.store(0, shared.load(0) + 1)
            shared.store(8, 0)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.load(0) == 4000


def test_nobody_else_left_to_notify_is_a_deadlock():
    check_script("""
    import microthread
    from microthread.interpreters import SharedBuffer
    try:
        SharedBuffer(8).wait(0, 0)
    except microthread.DeadlockError as error:
        assert "main waits for notify of <SharedBuffer of 8 bytes" in str(error), error
        print("ok")
    """)


def test_waiter_that_stays_to_the_end_does_no_harm():
    check_script("""
    import threading, microthread
    from microthread.interpreters import SharedBuffer
    shared = SharedBuffer(8)
    def stubborn():
        for _ in range(50):
            try:
                shared.wait(0, 0)
            except microthread.MicroThreadExit:
                pass
    def work():
        microthread.spawn(stubborn)
        microthread.yield_now()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    shared.notify(0)
    microthread.spawn(stubborn)
    microthread.yield_now()
    print("ok")
    """)


def test_fork_leaves_waiters_behind():
    check_script("""
    import os, microthread
    from microthread.interpreters import SharedBuffer
    shared = SharedBuffer(8)
    waiter = microthread.spawn(shared.wait, 0, 0)
    microthread.yield_now()
    child = os.fork()
    if child == 0:
        assert shared.notify(0) == 0
        again = microthread.spawn(shared.wait, 0, 0)
        microthread.yield_now()
        assert shared.notify(0) == 1 and again.wait()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert shared.notify(0) == 1 and waiter.wait()
    print("ok")
    """)


def test_transferred_buffer_is_of_no_use_to_the_sender():
    shared = SharedBuffer(8)
    with memoryview(shared):
        with pytest.raises(BufferError, match="of which 1 views live"):
            shared._detach()
    moved = shared._detach()
    assert moved.load(0) == 0 and "transferred" in repr(shared)
    for call in (lambda: shared.load(0), lambda: memoryview(shared), lambda: len(shared), lambda: shared.readonly,
                 lambda: shared.toreadonly(), lambda: SharedBuffer.from_buffer(shared), lambda: shared.notify(0),
                 lambda: shared._detach()):
        with pytest.raises(ValueError, match="^this SharedBuffer was transferred$"):
            call()
    with pytest.raises(CloneError, match=r"^msg\[0\].*transferred"):
        clone([shared])


def test_weak_references_and_no_pickling():
    shared = SharedBuffer(8)
    ref = weakref.ref(shared)
    with pytest.raises(TypeError):
        pickle.dumps(shared)
    del shared
    assert ref() is None


# ---- memoryviews ----

def test_memoryview_is_copied_with_its_form():
    numbers = memoryview(array.array("i", range(12))).cast("B").cast("i", (3, 4))
    copy = clone(numbers)
    assert copy == numbers and copy.format == "i" and copy.shape == (3, 4) and not copy.readonly
    copy[0, 0] = 77
    assert numbers[0, 0] == 0
    halves = clone(numbers[::2])
    assert halves.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]] and halves.c_contiguous
    assert clone(memoryview(b"abc")).readonly and bytes(clone(memoryview(b"abc"))) == b"abc"
    assert clone(memoryview(b"")).nbytes == 0
    assert clone(memoryview(b"x").cast("B", ())).tolist() == 120
    first, second = clone([numbers, numbers])
    assert first is second


def test_released_memoryview_is_a_clone_error():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(CloneError, match=r"^msg\['a'\] cannot be cloned: ValueError: operation forbidden"):
        clone({"a": view})


def test_lent_buffer_is_not_copied_and_keeps_its_form():
    data = array.array("i", range(12))
    view = _core._clone_buffer(memoryview(data).cast("B").cast("i", (3, 4))[::2])
    assert view.shape == (2, 4) and view.strides == (32, 4) and view.format == "i" and not view.readonly
    view[1, 0] = 99
    assert data[8] == 99
    with pytest.raises(BufferError):
        data.append(1)
    del view
    data.append(1)


def test_lent_bytes_are_readonly_and_others_are_refused():
    view = _core._clone_buffer(b"abc")
    assert view.readonly and bytes(view) == b"abc"
    with pytest.raises(TypeError, match="^obj must have a buffer, got int$"):
        _core._clone_buffer(5)


def test_memory_behind_a_view_heeds_what_is_asked_of_it():
    exporter = _core._clone_buffer(memoryview(bytes(12)).cast("B", (3, 4))).obj
    assert [memoryview(exporter).tobytes(form) for form in "CFA"] == [bytes(12)] * 3
    with pytest.raises(TypeError, match="read-write"):
        io.BytesIO(b"x").readinto(exporter)
    halves = _core._clone_buffer(memoryview(bytearray(12))[::2]).obj
    for call in (lambda: SharedBuffer.from_buffer(halves), lambda: bytes().join([halves])):
        with pytest.raises((BufferError, TypeError)):
            call()


def test_exporter_with_a_destructor_that_waits_is_released_in_a_micro_thread():
    log = []

    class Own(bytearray):
        def __del__(self):
            sleep(0.001)
            log.append("gone")
    own = Own(8)
    message = SharedBuffer.from_buffer(own)
    del own
    del message
    gc.collect()
    for _ in range(100):
        if not log:
            sleep(0.001)
    assert log == ["gone"]


def test_buffer_dropped_in_another_os_thread_is_released():
    data = bytearray(8)
    shared = [clone(SharedBuffer.from_buffer(data))]
    thread = threading.Thread(target=shared.clear)
    thread.start()
    thread.join()
    for _ in range(100):
        try:
            data.append(1)
            return
        except BufferError:
            sleep(0.001)
    raise AssertionError("still held")


def test_numpy_sees_the_same_memory():
    try:
        import numpy
    except ImportError as error:  # Debian's is there for some of its CPythons only
        pytest.skip(f"no numpy: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}")
    shared = SharedBuffer(80)
    numbers = numpy.frombuffer(shared, dtype="int64")
    numbers[3] = 7
    assert clone(shared).load(24) == 7
    lent = _core._clone_buffer(numpy.arange(6, dtype="float32").reshape(2, 3).T)
    assert lent.shape == (3, 2) and lent.format == "f" and lent.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_cancelled_is_raised_from_the_wait():
    shared, seen = SharedBuffer(8), []

    def work():
        try:
            shared.wait(0, 0)
        except Cancelled:
            seen.append("cancelled")
            raise
    thread = spawn(work)
    yield_now()
    thread.cancel()
    thread._join()
    assert seen == ["cancelled"]
