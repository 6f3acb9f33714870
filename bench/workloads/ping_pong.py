# SPDX-License-Identifier: MIT
"""A message to another interpreter, and its answer back: how long that takes."""

import os
import statistics
import sys
from time import perf_counter

from workloads.common import all_cpus

TITLE = "Ping-pong: a message to another interpreter and its answer"
NOTE = ("The median of the time on the clock for both ways; half of it is one way. Peers: one byte through two "
        "`os.pipe` between two OS threads, `queue.Queue` between the same, `multiprocessing.Pipe` between two processes, "
        "`concurrent.interpreters.Queue` (CPython 3.14), which looks every 10 ms.")
UNIT = "µs"
START = 20
MOST = 50_000
CASES = {"int": {}}


def skip(case, label):
    if label == "concurrent.interpreters" and sys.version_info < (3, 14):
        return "new in CPython 3.14"
    return None


def measured(count, ping):
    """As if each had taken as long as the median; the first ones only warm up."""
    times = []
    for _ in range(count + 10):
        begun = perf_counter()
        ping()
        times.append(perf_counter() - begun)
    return statistics.median(times[10:]) * count, count


def echo(receiver, sender):
    for message in receiver:
        sender.send(message)


def ours(count):
    from microthread.interpreters import create, create_channel

    all_cpus()
    there, to = create_channel()
    back, here = create_channel()
    other = create()
    echoing = other.spawn(echo, there, here)

    def ping():
        to.send(1)
        back.recv()

    result = measured(count, ping)
    to.close()
    echoing.wait()
    other.close()
    return result


def echo_bytes(out, into):
    while byte := os.read(out, 1):
        os.write(into, byte)


def raw_pipes(count):
    from threading import Thread

    all_cpus()
    (there, to), (back, here) = os.pipe(), os.pipe()
    echoing = Thread(target=echo_bytes, args=(there, here))
    echoing.start()

    def ping():
        os.write(to, b"x")
        os.read(back, 1)

    result = measured(count, ping)
    os.close(to)
    echoing.join()
    return result


def threads(count):
    from queue import Queue
    from threading import Thread

    all_cpus()
    to, back = Queue(), Queue()

    def echo_all():
        while (message := to.get()) is not None:
            back.put(message)

    echoing = Thread(target=echo_all)
    echoing.start()

    def ping():
        to.put(1)
        back.get()

    result = measured(count, ping)
    to.put(None)
    echoing.join()
    return result


def echo_pipe(connection):
    while (message := connection.recv()) is not None:
        connection.send(message)


def processes(count):
    from multiprocessing import get_context

    all_cpus()
    context = get_context("fork")
    connection, other = context.Pipe()
    echoing = context.Process(target=echo_pipe, args=(other,))
    echoing.start()

    def ping():
        connection.send(1)
        connection.recv()

    result = measured(count, ping)
    connection.send(None)
    echoing.join()
    return result


ECHO_QUEUE = "while (message := to.get()) is not None: back.put(message)"


def standard_interpreters(count):
    from concurrent import interpreters
    from threading import Thread

    all_cpus()
    to, back = interpreters.create_queue(), interpreters.create_queue()
    other = interpreters.create()
    other.prepare_main(to=to, back=back)
    echoing = Thread(target=other.exec, args=(ECHO_QUEUE,))
    echoing.start()

    def ping():
        to.put(1)
        back.get()

    result = measured(min(count, 200), ping)
    to.put(None)
    echoing.join()
    other.close()
    return result


PEERS = {
    "microthread": ours,
    "os.pipe": raw_pipes,
    "queue.Queue": threads,
    "multiprocessing.Pipe": processes,
    "concurrent.interpreters": standard_interpreters,
}
