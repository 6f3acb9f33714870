# SPDX-License-Identifier: MIT
"""The names that are promised exist, are documented, and refuse bad arguments in clear words."""
import decimal
import inspect

import pytest

import microthread as mt
from microthread import deferred, micro_pipe, micro_thread, run, sleep, spawn


@pytest.mark.parametrize("name", [
    "spawn", "micro_thread", "current", "yield_now", "sleep", "threads", "run", "excepthook",
    "MicroThreadExit", "Cancelled", "micro_pipe", "PipeClosed", "deferred", "DeadlockError", "dump",
    "dump_on_signal", "stats"])
def test_promised_name_is_public(name):
    assert name in mt.__all__ and getattr(mt, name).__doc__


def test_every_public_name_exists_and_is_documented():
    for name in mt.__all__:
        assert inspect.getdoc(getattr(mt, name)), name
    assert sorted(set(mt.__all__)) == sorted(mt.__all__)


@pytest.mark.parametrize("name", [name for name in mt.__all__ if name.islower()])
def test_public_callable_has_a_signature(name):
    assert inspect.signature(getattr(mt, name))


@pytest.mark.parametrize("kind", [micro_thread, micro_pipe, deferred])
def test_public_methods_are_documented_with_a_signature(kind):
    for name, member in vars(kind).items():
        if not name.startswith("_"):
            assert inspect.getdoc(member), name
            if callable(member):
                assert inspect.signature(member), name


def test_promised_attributes_exist():
    thread = micro_thread(int)
    for name in ("id name state waiting_for frame stack stdin stdout context start wait done result "
                 "exception add_done_callback cancelled cancel throw").split():
        assert hasattr(thread, name), name
    for name in ("put put_nowait take take_nowait take_from close closed capacity peak __len__ "
                 "__iter__ __next__ __enter__ __exit__").split():
        assert hasattr(micro_pipe(), name), name
    for name in "callback errback wait fired reset".split():
        assert hasattr(deferred(), name), name


def test_bases_of_the_errors():
    assert mt.MicroThreadExit.__bases__ == (BaseException,)
    assert mt.Cancelled.__bases__ == (mt.MicroThreadExit,)
    assert mt.PipeClosed.__bases__ == (BrokenPipeError,)
    assert mt.DeadlockError.__bases__ == (RuntimeError,)
    for error in (mt.MicroThreadExit, mt.Cancelled, mt.PipeClosed, mt.DeadlockError):
        assert error.__module__ == "microthread"


NAN = float("nan")


def closed_pipe():
    pipe = micro_pipe()
    pipe.close()
    return pipe


BAD_CALLS = [
    (lambda: spawn(3), TypeError, ["fn", "callable", "int"]),
    (lambda: spawn(), TypeError, ["function"]),
    (lambda: spawn(fn=int), TypeError, ["function"]),
    (lambda: micro_thread(3), TypeError, ["fn", "callable", "int"]),
    (lambda: micro_thread(), TypeError, ["fn"]),
    (lambda: micro_thread(int, 3), TypeError, ["int"]),
    (lambda: micro_thread(int, (), 3), TypeError, ["kwargs", "mapping", "int"]),
    (lambda: micro_thread(int, (), [1]), TypeError, []),
    (lambda: micro_thread(int, name=3), TypeError, ["name", "str", "int"]),
    (lambda: micro_thread(int, stack_size=0), ValueError, ["stack_size", "0"]),
    (lambda: micro_thread(int, stack_size=-1), ValueError, ["stack_size", "-1"]),
    (lambda: micro_thread(int, stack_size=2**26 + 1), ValueError, ["stack_size", "67108865"]),
    (lambda: micro_thread(int, stack_size=2**80), ValueError, ["stack_size", str(2**80)]),
    (lambda: micro_thread(int, stack_size="1"), TypeError, ["stack_size", "str"]),
    (lambda: micro_thread(int, stack_size=1.5), TypeError, ["stack_size", "float"]),
    (lambda: micro_thread(int, (), {}, "name"), TypeError, []),
    (lambda: run(3), TypeError, ["fn", "callable", "int"]),
    (lambda: sleep(-1), ValueError, ["seconds", ">= 0", "-1"]),
    (lambda: sleep(-1e-300), ValueError, ["seconds", ">= 0", "-1e-300"]),
    (lambda: sleep(-10**400), ValueError, ["seconds", ">= 0"]),
    (lambda: sleep(NAN), ValueError, ["seconds", ">= 0", "nan"]),
    (lambda: sleep("1"), TypeError, ["seconds", "str"]),
    (lambda: sleep(None), TypeError, ["seconds", "NoneType"]),
    (lambda: sleep(), TypeError, []),
    (lambda: deferred().wait(-1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: deferred().wait(timeout=NAN), ValueError, ["timeout", ">= 0", "nan"]),
    (lambda: deferred().wait("x"), TypeError, ["timeout", "str"]),
    (lambda: deferred().errback(3), TypeError, ["exception", "int"]),
    (lambda: deferred().errback(int), TypeError, ["exception", "type"]),
    (lambda: deferred(3), TypeError, []),
    (lambda: micro_pipe(-1), ValueError, ["capacity", ">= 0", "-1"]),
    (lambda: micro_pipe(2**80), ValueError, ["capacity", str(2**80)]),
    (lambda: micro_pipe(-2**80), ValueError, ["capacity", str(-2**80)]),
    (lambda: micro_pipe(1.5), TypeError, ["capacity", "float"]),
    (lambda: micro_pipe("1"), TypeError, ["capacity", "str"]),
    (lambda: micro_pipe().take(-1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: micro_pipe().put(1, -1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: micro_pipe().put(1, timeout=NAN), ValueError, ["timeout", ">= 0", "nan"]),
    (lambda: micro_pipe().put(), TypeError, []),
    (lambda: micro_pipe().put(1, wait=2), TypeError, ["wait"]),
    (lambda: micro_pipe().take(1, 2), TypeError, []),
    (lambda: micro_pipe().take_from(3), TypeError, ["int", "iterable"]),
    (lambda: micro_pipe().close(3), TypeError, ["exception", "int"]),
    (lambda: closed_pipe().put(1), mt.PipeClosed, ["closed"]),
    (lambda: closed_pipe().take(), EOFError, ["closed"]),
    (lambda: mt.current().throw(3), TypeError, ["exc", "int"]),
    (lambda: mt.current().throw(int), TypeError, ["exc"]),
    (lambda: mt.current().cancel(1, 2), TypeError, []),
    (lambda: mt.current().cancel(message=1), TypeError, ["message"]),
    (lambda: mt.current().add_done_callback(3), TypeError, ["fn", "callable", "int"]),
    (lambda: mt.current().wait(), RuntimeError, ["main", "itself"]),
    (lambda: mt.current().start(), RuntimeError, ["main", "started"]),
    (lambda: mt.current().wait(-1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: setattr(mt.current(), "name", 3), TypeError, ["name", "str", "int"]),
    (lambda: delattr(mt.current(), "name"), TypeError, ["name"]),
    (lambda: setattr(mt.current(), "id", 3), AttributeError, ["id"]),
]


@pytest.mark.parametrize("call, kind, words", BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_bad_argument_is_refused_by_name_rule_and_value(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_starting_twice_is_refused_in_every_state():
    gate = deferred()
    thread = micro_thread(gate.wait)
    thread.start()
    for step in (lambda: None, lambda: sleep(0.001), lambda: (gate.callback(1), thread.wait())):
        step()
        with pytest.raises(RuntimeError, match="started"):
            thread.start()
    spawned = spawn(int)
    with pytest.raises(RuntimeError, match="started"):
        spawned.start()
    spawned.wait()


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, False, decimal.Decimal(0)])
def test_zero_of_any_kind_is_a_time(zero):
    sleep(zero)
    with pytest.raises(TimeoutError):
        deferred().wait(zero)


def test_exception_of_a_conversion_comes_through():
    class Odd:
        def __float__(self):
            raise LookupError("mine")

        def __index__(self):
            raise LookupError("mine")

    for call in (lambda: sleep(Odd()), lambda: deferred().wait(Odd()),
                 lambda: micro_thread(int, stack_size=Odd()), lambda: micro_pipe(Odd())):
        with pytest.raises(LookupError, match="mine"):
            call()


def test_bad_arguments_leave_nothing_behind():
    before = mt.threads()
    for call, kind, _ in BAD_CALLS:
        with pytest.raises(kind):
            call()
    assert mt.threads() == before
