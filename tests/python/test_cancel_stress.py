# SPDX-License-Identifier: MIT
"""Cancelled means it did not happen: nothing is lost or doubled under 100,000 cancellations."""
import random

import pytest

import microthread
from microthread import (
    Cancelled, Condition, LifoQueue, Lock, Queue, RLock, Semaphore, SimpleQueue, deferred,
    micro_pipe, move_on_after, select, sleep, spawn, threads, timeout, yield_now)
from microthread import socket as our_socket

BATCH = 50


class Stop(Exception):
    """Thrown where a test does not want the level of cancel()."""


class Count:
    """What was put and what was taken, each noted only after the call has returned."""

    def __init__(self):
        self.put, self.taken = [], []

    def check(self, rest):
        assert len(set(self.put)) == len(self.put)
        assert sorted(self.taken + list(rest)) == sorted(self.put)


def storm(rng, jobs, cancellations):
    """Run the jobs, functions of a number, in micro-threads and cancel at random until so many
    cancellations have been asked for; then let the rest run."""
    number = asked = 0
    live = []
    while asked < cancellations:
        for _ in range(BATCH):
            live.append(spawn(rng.choice(jobs), number))
            number += 1
        for _ in range(rng.randrange(3)):
            yield_now()
        rng.shuffle(live)
        for thread in live[:BATCH * 3 // 4]:
            asked += thread.cancel() if rng.random() < 0.8 else thread.throw(Cancelled)
        if rng.random() < 0.2:
            yield_now()
        live = [thread for thread in live if not thread.done()]
    return live


def end(live):
    """Cancel those that still wait."""
    yield_now()
    for thread in live:
        thread.cancel()
    while len(threads()) > 1:
        yield_now()


@pytest.mark.parametrize("capacity", [None, 0, 1, 7])
def test_pipe_loses_nothing(capacity):
    pipe, count = micro_pipe(capacity), Count()

    def put(n):
        pipe.put(n)
        count.put.append(n)

    def take(n):
        count.taken.append(pipe.take())

    def take_for_a_moment(n):
        with move_on_after(0):
            count.taken.append(pipe.take())

    def put_for_a_moment(n):
        with timeout(0):
            pipe.put(n)
            count.put.append(n)

    end(storm(random.Random(1), [put, take, put, take, take_for_a_moment, put_for_a_moment], 12_000))
    count.check([pipe.take_nowait() for _ in range(len(pipe))])


@pytest.mark.parametrize("make", [SimpleQueue, Queue, lambda: Queue(1), lambda: LifoQueue(5)])
def test_queue_loses_nothing(make):
    queue, count = make(), Count()

    def put(n):
        queue.put(n)
        count.put.append(n)

    def get(n):
        count.taken.append(queue.get())

    end(storm(random.Random(2), [put, get], 5_000))
    count.check([queue.get_nowait() for _ in range(queue.qsize())])


def test_select_takes_and_puts_exactly_once():
    pipes, count = [micro_pipe(0), micro_pipe(2), micro_pipe()], Count()

    def both(n):
        here, there = random.sample(pipes, 2)
        index, value = select(here.taking(), there.putting(n), deferred())
        if index == 0:
            count.taken.append(value)
        else:
            count.put.append(n)

    def put(n):
        pipes[n % 3].put(n)
        count.put.append(n)

    def take(n):
        count.taken.append(pipes[n % 3].take())

    random.seed(3)
    end(storm(random.Random(3), [both, both, put, take], 12_000))
    count.check([pipe.take_nowait() for pipe in pipes for _ in range(len(pipe))])


@pytest.mark.parametrize("make", [Lock, RLock])
def test_lock_is_free_at_the_end(make):
    lock, inside = make(), []

    def work(n):
        with lock:
            inside.append(n)
            try:
                assert inside == [n]
                yield_now()
            finally:
                inside.clear()

    def attempt(n):
        if lock.acquire(timeout=0.0001):
            lock.release()

    end(storm(random.Random(4), [work, work, attempt], 8_000))
    assert lock.acquire(blocking=False)
    lock.release()


def test_semaphore_has_all_its_permits_at_the_end():
    semaphore, most = Semaphore(3), []

    def work(n):
        with semaphore:
            most.append(1)
            try:
                assert len(most) <= 3
                yield_now()
            finally:
                most.pop()

    end(storm(random.Random(5), [work], 8_000))
    assert [semaphore.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]


def test_condition_hands_every_item_to_somebody():
    condition, items, count = Condition(), [], Count()

    def put(n):
        with condition:
            items.append(n)
            count.put.append(n)
            condition.notify()

    def take(n):
        with condition:
            while not items:
                condition.wait()
            count.taken.append(items.pop())

    live = storm(random.Random(6), [put, take], 8_000)
    yield_now()
    yield_now()
    waiting = [thread for thread in live if "condition" in (thread.waiting_for or "").lower()]
    assert not items or not waiting  # a notification is not lost with the one it woke
    end(live)
    count.check(items)
    assert condition.acquire(blocking=False)


def test_deferred_wakes_everybody_who_still_waits():
    log = []
    for _ in range(80):
        one = deferred()
        waiting = [spawn(lambda: log.append(one.wait())) for _ in range(60)]
        yield_now()
        gone = [thread for thread in waiting if random.random() < 0.8 and thread.cancel()]
        one.callback(1)
        yield_now()
        assert len(log) == len(waiting) - len(gone)
        log.clear()


PATTERN = bytes(range(251)) * 400


def pair():
    left, right = our_socket.socketpair()
    for one in (left, right):
        one.setsockopt(our_socket.SOL_SOCKET, our_socket.SO_SNDBUF, 4096)
    return left, right


def test_sockets_lose_no_byte():
    rng = random.Random(7)
    left, right = pair()
    sent, received, stopped = 0, bytearray(), 0

    def write():
        nonlocal sent
        while sent < 60 * len(PATTERN):
            offset = sent % len(PATTERN)
            try:
                sent += left.send(PATTERN[offset:offset + 3000])
            except Stop:
                pass
        left.shutdown(our_socket.SHUT_WR)

    def read():
        while True:
            try:
                data = right.recv(2000)
            except Stop:
                continue
            if not data:
                return
            received.extend(data)

    with left, right:
        both = [spawn(write), spawn(read)]
        while not all(thread.done() for thread in both):
            yield_now()
            stopped += rng.choice(both).throw(Stop)
        for thread in both:
            assert thread.exception() is None or isinstance(thread.exception(), Stop)
    assert stopped > 1000
    assert len(received) == sent
    assert bytes(received) == (PATTERN * 61)[:sent]


def test_send_all_cut_short_has_sent_a_beginning():
    for cut in range(60):
        left, right = pair()
        with left, right:
            writer = spawn(left.sendall, PATTERN)
            received = bytearray()
            for _ in range(cut % 20):
                yield_now()
                received += right.recv(1000)
            writer.cancel()
            yield_now()
            left.close()
            while data := right.recv(65536):
                received += data
        assert PATTERN.startswith(bytes(received))


def test_accept_cut_short_leaves_the_connection_to_the_next():
    with our_socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(200):
            waiting = spawn(listener.accept)
            yield_now()
            waiting.cancel()
            yield_now()
        with our_socket.create_connection(listener.getsockname()) as client:
            accepted, address = listener.accept()
            with accepted:
                assert address == client.getsockname()


def test_time_outs_cut_nothing_in_half():
    pipe, count = micro_pipe(0), Count()

    def put(n):
        with move_on_after(n % 5 * 0.00002):
            pipe.put(n)
            count.put.append(n)

    def take(n):
        with move_on_after(n % 7 * 0.00002):
            count.taken.append(pipe.take())

    for n in range(0, 12_000, 20):
        for k in range(n, n + 10):
            spawn(put, k)
            spawn(take, k)
        yield_now()
    while len(threads()) > 1:
        sleep(0.0001)
    count.check([])
    assert 0 < len(count.put) < 6_000


def test_parallel_map_that_fails_leaves_nothing_behind():
    def work(n):
        yield_now()
        if n % 40 == 39:
            raise KeyError(n)
        deferred().wait(60)

    for _ in range(100):
        with pytest.raises(KeyError):
            microthread.parallel_map(work, range(80), limit=50)
        yield_now()
    assert len(threads()) == 1
