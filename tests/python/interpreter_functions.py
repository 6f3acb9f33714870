# SPDX-License-Identifier: MIT
"""Functions that the tests call in other interpreters, by name."""
import microthread


class Odd(Exception):
    """One with arguments of its own."""

    def __init__(self, number, text):
        super().__init__(number, text)
        self.number = number


def double(n):
    return 2 * n


def raise_odd():
    raise Odd(3, "three")


def raise_local():
    class Local(Exception):
        pass

    raise Local("only here")


def sleep_and_note(seconds, sender):
    try:
        microthread.sleep(seconds)
    finally:
        sender.send("left")


def stay(sender):
    """Say that it is in, and when it is told to leave that it has left."""
    try:
        sender.send("in")
        microthread.sleep(1000)
    finally:
        sender.send("left")


def echo(receiver, sender):
    with sender:
        for message in receiver:
            sender.send(message)


def produce(sender, first, count):
    with sender:
        for n in range(first, first + count):
            sender.send(n)


def consume(receiver):
    return sum(1 for _ in receiver)


def ask_for_a_lock():
    import threading

    return threading.Lock()


def keyword(*args, **kwargs):
    return args, kwargs


def refuse():
    raise ImportError("module fake does not support loading in subinterpreters", name="fake")
