# SPDX-License-Identifier: MIT
"""SendChannel.send_buffer(): memory that a message lends and does not copy."""
import array
import gc
import queue

import pytest

from microthread import sleep
from microthread.interpreters import create_channel
from support import check_script


def append_once_it_is_back(data):
    """What was lent comes back by its scheduler's mail, at one of the next looks at it."""
    for _ in range(2000):
        try:
            return data.append(1)
        except BufferError:
            sleep(0.001)
    raise AssertionError("it is held still")


def test_receiver_sees_the_senders_memory():
    receiver, sender = create_channel()
    data = bytearray(b"0123456789" * 10_000)
    sender.send_buffer(data)
    view = receiver.recv()
    assert type(view) is memoryview and view.nbytes == len(data) and not view.readonly
    data[0] = ord("x")
    assert view[0] == ord("x")
    view[1] = ord("y")
    assert data[1] == ord("y")


def test_format_shape_strides_and_readonly_are_kept():
    receiver, sender = create_channel()
    numbers = memoryview(array.array("d", range(12))).cast("B").cast("d", (3, 4))
    sender.send_buffer(numbers)
    sender.send_buffer(memoryview(bytes(range(20)))[::3])
    view, stepped = receiver.recv(), receiver.recv()
    assert (view.format, view.shape, view.tolist()) == ("d", (3, 4), numbers.tolist())
    assert stepped.readonly and stepped.strides == (3,) and stepped.tolist() == list(range(0, 20, 3))


def test_owner_is_held_until_the_last_view_is_gone():
    receiver, sender = create_channel()
    data = bytearray(100)
    sender.send_buffer(data)
    with pytest.raises(BufferError):
        data.append(1)
    view = receiver.recv()
    with pytest.raises(BufferError):
        data.append(1)
    view.release()
    del view
    gc.collect()
    append_once_it_is_back(data)


def test_what_is_no_buffer_or_cannot_go_is_an_error_and_nothing_is_sent():
    receiver, sender = create_channel(1)
    with pytest.raises(TypeError):
        sender.send_buffer([1, 2])
    sender.send_buffer(bytearray(1))
    data = bytearray(10)
    with pytest.raises(TimeoutError):
        sender.send_buffer(data, timeout=0)
    append_once_it_is_back(data)
    assert receiver.recv().nbytes == 1
    with pytest.raises(queue.Empty):
        receiver.recv_nowait()
    sender.close()
    with pytest.raises(ValueError):
        sender.send_buffer(data)


def test_memory_is_shared_with_another_interpreter():
    check_script("""
        import array
        from microthread import interpreters
        from microthread.interpreters import create_channel
        work_out, work_in = create_channel()
        interpreter = interpreters.create()
        def double(numbers):
            view = numbers.recv()
            for i in range(len(view)):
                view[i] *= 2
            view.release()
        handle = interpreter.spawn(double, work_out)
        numbers = array.array("q", range(1000))
        work_in.send_buffer(numbers)
        handle.wait()
        assert list(numbers) == list(range(0, 2000, 2))
        interpreter.close()
        print("ok")
    """)
