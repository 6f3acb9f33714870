# SPDX-License-Identifier: MIT
"""Channels inside one interpreter, between its OS threads too; what crosses interpreters is in
test_interpreters.py."""
import gc
import queue
import threading

import pytest

import microthread
from microthread import PipeClosed, interpreters, micro_pipe, select, spawn, yield_now
from microthread.interpreters import CloneError, create_channel

from support import check_script


@pytest.fixture(params=[None, 0, 1, 3])
def channel(request):
    return create_channel(request.param)


def test_messages_come_in_order_once_and_are_clones():
    receiver, sender = create_channel()
    given = [1, [2]]
    sender.send(given)
    given[1].append(3)
    sender.send("second")
    assert receiver.recv() == [1, [2]] and receiver.recv() == "second"


def test_every_capacity_passes_all_in_order(channel):
    receiver, sender = channel

    def produce():
        with sender:
            for n in range(1000):
                sender.send(n)

    thread = spawn(produce)
    assert list(receiver) == list(range(1000))
    thread.wait()


def test_bounded_send_waits_for_room():
    receiver, sender = create_channel(1)
    sender.send(1)
    second = spawn(sender.send, 2)
    yield_now()
    assert not second.done() and second.waiting_for.startswith("send to <SendChannel")
    assert receiver.recv() == 1
    second.wait()
    assert receiver.recv() == 2


def test_rendezvous_send_returns_when_it_was_received():
    receiver, sender = create_channel(0)
    with pytest.raises(queue.Full):
        sender.send_nowait(1)
    with pytest.raises(TimeoutError):
        sender.send(1, timeout=0)
    one = spawn(sender.send, 1)
    yield_now()
    assert not one.done()
    assert receiver.recv_nowait() == 1
    one.wait()


def test_nowait_and_time_outs_leave_nothing_behind():
    receiver, sender = create_channel(1)
    with pytest.raises(queue.Empty):
        receiver.recv_nowait()
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            receiver.recv(timeout)
    sender.send("a")
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError):
            sender.send("b", timeout=timeout)
    assert receiver.recv() == "a"
    with pytest.raises(queue.Empty):
        receiver.recv_nowait()


def test_cancelled_receiver_takes_nothing_and_cancelled_sender_sends_nothing():
    receiver, sender = create_channel(0)
    for call, args in ((receiver.recv, ()), (sender.send, ("lost",))):
        waiter = spawn(call, *args)
        yield_now()
        waiter.cancel()
        waiter._join()
        assert waiter.cancelled()
    other = spawn(sender.send, "kept")
    assert receiver.recv() == "kept"
    other.wait()


def test_receiver_that_has_been_served_returns_it_and_is_cancelled_later():
    receiver, sender = create_channel()
    waiter = spawn(receiver.recv)
    yield_now()
    sender.send("mine")
    waiter.cancel()
    assert waiter.wait() == "mine"


def test_waiters_are_served_in_the_order_in_which_they_came():
    receiver, sender = create_channel()
    log = []
    waiters = [spawn(lambda n=n: log.append((n, receiver.recv()))) for n in range(5)]
    yield_now()
    for n in range(5):
        sender.send(n)
    microthread.wait_all(waiters)
    assert log == [(n, n) for n in range(5)]


def test_last_sender_closed_drains_and_then_ends():
    receiver, sender = create_channel()
    sender.send(1)
    sender.close()
    sender.close()
    assert receiver.recv() == 1
    with pytest.raises(EOFError):
        receiver.recv()
    with pytest.raises(EOFError):
        receiver.recv_nowait()
    assert list(receiver) == []


def test_waiting_receiver_sees_the_end():
    receiver, sender = create_channel()
    waiter = spawn(receiver.recv)
    yield_now()
    sender.close()
    with pytest.raises(EOFError):
        waiter.wait()


def test_last_receiver_closed_is_pipe_closed_for_senders():
    receiver, sender = create_channel(1)
    sender.send(1)
    waiter = spawn(sender.send, 2)
    yield_now()
    receiver.close()
    with pytest.raises(PipeClosed):
        waiter.wait()
    with pytest.raises(PipeClosed):
        sender.send(3)
    with pytest.raises(PipeClosed):
        sender.send_nowait(3)


def test_end_closed_here_raises_value_error():
    receiver, sender = create_channel()
    waiter = spawn(receiver.recv)
    yield_now()
    receiver.close()
    with pytest.raises(ValueError, match="closed in this interpreter"):
        waiter.wait()
    sender.close()
    for call in (receiver.recv, receiver.recv_nowait, lambda: next(receiver), receiver.__enter__,
                 lambda: sender.send(1), lambda: sender.send_nowait(1), lambda: select(receiver.receiving()),
                 lambda: select(sender.sending(1)), lambda: interpreters.clone(sender)):
        with pytest.raises(ValueError, match="closed in this interpreter"):
            call()
    assert receiver.closed and sender.closed and "closed" in repr(receiver)


def test_end_without_references_closes_itself():
    receiver, sender = create_channel()
    sender.send(1)
    del sender
    gc.collect()
    assert list(receiver) == [1]
    receiver, sender = create_channel()
    del receiver
    with pytest.raises(PipeClosed):
        sender.send(1)


def test_ends_travel_in_messages_and_count_as_open_there():
    receiver, sender = create_channel()
    inner_receiver, inner_sender = create_channel()
    sender.send({"ends": [inner_receiver, inner_sender]})
    same = receiver.recv()["ends"]
    assert same[0] is inner_receiver and same[1] is inner_sender
    sender.send(inner_sender)
    del inner_sender, same
    waiter = spawn(inner_receiver.recv)
    yield_now()
    assert not waiter.done()
    receiver.recv().send("by way of a message")
    assert waiter.wait() == "by way of a message"
    with pytest.raises(EOFError):
        inner_receiver.recv()


def test_message_that_is_dropped_closes_the_ends_inside():
    receiver, sender = create_channel()
    inner_receiver, inner_sender = create_channel()
    sender.send(inner_sender)
    del inner_sender
    receiver.close()
    with pytest.raises(EOFError):
        inner_receiver.recv()


def test_what_cannot_be_cloned_is_not_sent():
    receiver, sender = create_channel()
    with pytest.raises(CloneError):
        sender.send([1, threading.Lock()])
    with pytest.raises(CloneError):
        select(sender.sending(threading.Lock()))
    with pytest.raises(queue.Empty):
        receiver.recv_nowait()


def test_wrong_arguments_are_named():
    for capacity, error in ((-1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="capacity"):
            create_channel(capacity)
    receiver, sender = create_channel(2)
    assert (receiver.capacity, create_channel()[0].capacity) == (2, None)
    assert receiver.id == sender.id != create_channel()[0].id
    for call in (lambda: receiver.recv(timeout=-1), lambda: sender.send(1, timeout=-1)):
        with pytest.raises(ValueError, match="timeout must be >= 0"):
            call()
    for cls in (interpreters.RecvChannel, interpreters.SendChannel):
        with pytest.raises(TypeError):
            cls()


def test_select_over_channels_and_other_things():
    receiver, sender = create_channel()
    full_receiver, full_sender = create_channel(1)
    full_sender.send(1)
    pipe = micro_pipe()
    cases = receiver.receiving(), full_sender.sending(2), pipe.taking()
    with pytest.raises(TimeoutError):
        select(*cases, timeout=0)
    with pytest.raises(TimeoutError):
        select(*cases, timeout=0.001)
    for action, expected in ((lambda: sender.send("a"), (0, "a")), (full_receiver.recv, (1, None)),
                             (lambda: pipe.put("p"), (2, "p"))):
        waiter = spawn(select, *cases)
        yield_now()
        assert not waiter.done()
        action()
        assert waiter.wait() == expected
    assert full_receiver.recv() == 2
    sender.close()
    with pytest.raises(EOFError):
        select(*cases)


def test_select_in_both_directions_of_a_rendezvous():
    receiver, sender = create_channel(0)
    one = spawn(select, receiver.receiving(), micro_pipe().taking())
    two = spawn(select, sender.sending("met"), micro_pipe().taking())
    assert one.wait() == (0, "met") and two.wait() == (0, None)


def test_pipe_and_channel_at_once_give_exactly_one():
    receiver, sender = create_channel()
    pipe = micro_pipe()
    got = []
    for _ in range(50):
        waiter = spawn(select, receiver.receiving(), pipe.taking())
        yield_now()
        pipe.put("pipe")
        sender.send("channel")
        got.append(waiter.wait())
        if got[-1] == (1, "pipe"):
            assert receiver.recv_nowait() == "channel"
        else:
            assert got[-1] == (0, "channel") and pipe.take_nowait() == "pipe"
    assert got


def test_fair_choice_among_ready_channels():
    some = [create_channel() for _ in range(3)]
    seen = set()
    for _ in range(100):
        for _, sender in some:
            sender.send(1)
        seen.add(select(*(receiver.receiving() for receiver, _ in some))[0])
    assert seen == {0, 1, 2}


def test_always_ready_channel_does_not_starve_the_others():
    receiver, sender = create_channel()
    ticks = []
    other = spawn(lambda: [(ticks.append(1), yield_now()) for _ in range(3)])
    for n in range(2000):
        sender.send(n)
        receiver.recv()
    assert len(ticks) == 3
    other.wait()


def test_deadlock_is_seen_when_nobody_else_has_an_end():
    check_script("""
    import microthread
    from microthread.interpreters import create_channel
    receiver, sender = create_channel()
    try:
        receiver.recv()
    except microthread.DeadlockError as error:
        assert "receive from <RecvChannel" in str(error), error
        print("ok")
    """)


def test_channel_in_the_child_of_a_fork_is_closed():
    check_script("""
    import os, microthread
    from microthread.interpreters import create_channel
    receiver, sender = create_channel()
    sender.send(1)
    pid = os.fork()
    if pid == 0:
        try:
            receiver.recv()
        except EOFError:
            pass
        try:
            sender.send(1)
        except microthread.PipeClosed:
            own = create_channel()
            own[1].send(5)
            os._exit(own[0].recv())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert receiver.recv() == 1
    print("ok")
    """)


def test_mixed_selects_of_several_os_threads_lose_nothing():
    check_script("""
    import threading
    from microthread import micro_pipe, select, spawn, sleep
    from microthread.interpreters import create_channel
    channels = [create_channel(n % 3) for n in range(4)]
    done_receiver, done_sender = create_channel()
    N, sent, got = 400, [], []
    def send(name):
        for n in range(N):
            select(*(sender.sending((name, n)) for _, sender in channels))
            sent.append((name, n))
    def receive():
        pipe = micro_pipe()
        taken = []
        feeder = spawn(lambda: [(pipe.put("p"), sleep(0.0005)) for _ in range(50)])
        while True:
            index, value = select(*(r.receiving() for r, _ in channels), pipe.taking(),
                                  done_receiver.receiving())
            if index == 5:
                break
            (taken if index == 4 else got).append(value)
        feeder.wait()
        taken += [pipe.take() for _ in range(len(pipe))]
        assert len(taken) == 50, len(taken)
    senders = [threading.Thread(target=send, args=(name,)) for name in "abc"]
    receivers = [threading.Thread(target=receive) for _ in range(3)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders:
        thread.join()
    sleep(0.02)
    while any(repr(r).split()[2] != "0" for r, _ in channels):
        sleep(0.01)
    for _ in receivers:
        done_sender.send(None)
    for thread in receivers:
        thread.join()
    assert sorted(got) == sorted(sent) and len(got) == 3 * N, (len(got), len(sent))
    print("ok")
    """, timeout=60)


def test_time_outs_between_os_threads_lose_nothing():
    check_script("""
    import threading
    from microthread.interpreters import create_channel
    receiver, sender = create_channel(1)
    N, got = 300, []
    def receive():
        while True:
            try:
                got.append(receiver.recv(timeout=0.0002))
            except TimeoutError:
                pass
            except EOFError:
                return
    thread = threading.Thread(target=receive)
    thread.start()
    refused = 0
    for n in range(N):
        while True:
            try:
                sender.send(n, timeout=0.0001 * (n % 3))
                break
            except TimeoutError:
                refused += 1
    sender.close()
    thread.join()
    assert got == list(range(N)), got
    print("ok")
    """, timeout=60)
