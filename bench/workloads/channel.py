# SPDX-License-Identifier: MIT
"""A stream of messages from one interpreter to another: what one costs, its send and its receive."""

import os
import sys
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from workloads.clone import record
from workloads.common import all_cpus

TITLE = "Channel: one message of a stream to another interpreter"
NOTE = ("CPU time of both sides. Peers: `concurrent.interpreters.Queue` (CPython 3.14) between two interpreters, "
        "`multiprocessing.Pipe` between two processes, `queue.Queue` between two OS threads, which copies nothing, "
        "and pickle through `os.pipe` between two OS threads. The buffer is a `SharedBuffer`, or a memoryview.")
UNIT = "ns"
START = 200
MOST = 200_000

MAKE = {
    "int": lambda: 12345,
    "dict-10": record,
    "bytes-1MiB": lambda: bytes(1 << 20),
    "buffer-100MiB": lambda: bytearray(100 << 20),
}
# What is large must not pile up.
CASES = {name: {"what": name, "room": 8 if "MiB" in name else 0} for name in MAKE}


def skip(case, label):
    if label == "concurrent.interpreters" and sys.version_info < (3, 14):
        return "new in CPython 3.14"
    if case == "buffer-100MiB" and label not in ("microthread", "concurrent.interpreters"):
        return "shares no memory"
    return None


def cpu_of_all():
    """Of this process and the children that it has waited for."""
    usage = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in usage)


def drain(receiver):
    for _ in receiver:
        pass


def ours(count, what, room):
    from microthread.interpreters import SharedBuffer, create, create_channel

    all_cpus()
    obj = SharedBuffer(100 << 20) if what.startswith("buffer") else MAKE[what]()
    receiver, sender = create_channel(room or None)
    other = create()
    reader = other.spawn(drain, receiver)
    begun = cpu_of_all()
    for _ in range(count):
        sender.send(obj)
    sender.close()
    reader.wait()
    spent = cpu_of_all() - begun
    other.close()
    return spent, count


def standard_interpreters(count, what, room):
    from concurrent import interpreters
    from threading import Thread

    all_cpus()
    obj = MAKE[what]()
    if what.startswith("buffer"):
        obj = memoryview(obj)
    queue = interpreters.create_queue(room)
    other = interpreters.create()
    other.prepare_main(queue=queue, count=count)
    source = "for _ in range(count): queue.get()"
    begun = cpu_of_all()
    reader = Thread(target=other.exec, args=(source,))
    reader.start()
    for _ in range(count):
        queue.put(obj)
    reader.join()
    spent = cpu_of_all() - begun
    other.close()
    return spent, count


def read_pipe(receiver, count):
    for _ in range(count):
        receiver.recv()


def processes(count, what, room):
    from multiprocessing import get_context

    all_cpus()
    obj = MAKE[what]()
    context = get_context("fork")
    begun = cpu_of_all()
    receiver, sender = context.Pipe(duplex=False)
    reader = context.Process(target=read_pipe, args=(receiver, count))
    reader.start()
    for _ in range(count):
        sender.send(obj)
    reader.join()
    return cpu_of_all() - begun, count


def threads(count, what, room):
    from queue import Queue
    from threading import Thread

    all_cpus()
    obj = MAKE[what]()
    queue = Queue(room)

    def read():
        for _ in range(count):
            queue.get()

    begun = cpu_of_all()
    reader = Thread(target=read)
    reader.start()
    for _ in range(count):
        queue.put(obj)
    reader.join()
    return cpu_of_all() - begun, count


def pickle_and_pipe(count, what, room):
    from pickle import dump, load
    from threading import Thread

    all_cpus()
    obj = MAKE[what]()
    out, into = os.pipe()

    def read():
        with open(out, "rb") as file:
            for _ in range(count):
                load(file)

    begun = cpu_of_all()
    reader = Thread(target=read)
    reader.start()
    with open(into, "wb", buffering=0) as file:
        for _ in range(count):
            dump(obj, file, 5)
    reader.join()
    return cpu_of_all() - begun, count


PEERS = {
    "microthread": ours,
    "concurrent.interpreters": standard_interpreters,
    "multiprocessing.Pipe": processes,
    "queue.Queue": threads,
    "pickle + os.pipe": pickle_and_pipe,
}
