# SPDX-License-Identifier: MIT
"""Plain, blocking Python code, run by the million in one OS thread: micro-threads and pipes."""

import sys as _sys
from os import environ as _environ

from microthread import _core
from microthread._core import (
    BoundedSemaphore,
    Cancelled,
    DeadlockError,
    Event,
    ExceptHookArgs,
    Lock,
    MicroThreadExit,
    PipeClosed,
    RLock,
    Semaphore,
    SimpleQueue,
    after,
    current,
    deferred,
    micro_pipe,
    micro_thread,
    move_on_after,
    put,
    readable,
    shield,
    sleep,
    spawn,
    stats,
    take,
    take_from,
    threads,
    timeout,
    wait_readable,
    wait_writable,
    writable,
    yield_now,
)
from microthread._hooks import excepthook
from microthread._modules import NAMES as _MODULES
from microthread._modules import CallableModule as _CallableModule
from microthread._modules import Package as _Package
from microthread._run import run, run_blocking
from microthread._scenarios import generate, start_and_forget, start_in_parallel

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Cancelled",
    "Condition",
    "DeadlockError",
    "Event",
    "ExceptHookArgs",
    "Group",
    "LifoQueue",
    "Lock",
    "MicroThreadExit",
    "PipeClosed",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "SlowHookArgs",
    "StreamServer",
    "after",
    "as_completed",
    "current",
    "deferred",
    "dump",
    "dump_on_signal",
    "excepthook",
    "generate",
    "get_include",
    "local",
    "micro_pipe",
    "micro_thread",
    "move_on_after",
    "open",
    "parallel_map",
    "put",
    "readable",
    "run",
    "run_blocking",
    "select",
    "serve_top",
    "set_timeslice",
    "shield",
    "sleep",
    "slow_hook",
    "spawn",
    "start_and_forget",
    "start_in_parallel",
    "stats",
    "take",
    "take_from",
    "threads",
    "timeout",
    "trace",
    "wait_all",
    "wait_future",
    "wait_readable",
    "wait_writable",
    "writable",
    "yield_now",
]

__version__ = "0.1.0"

slow_threshold: float | None  # seconds; setting it takes effect at once
_sys.modules[__name__].__class__ = _Package

# A function, and a module that is loaded when one of its names is asked for.
select = _sys.modules["microthread.select"] = _CallableModule(
    "microthread.select", _core.select.__doc__
)

# Loaded on first use: they cost imports of the standard library.
_LATER = {
    "Barrier": "_sync",
    "BrokenBarrierError": "_sync",
    "Condition": "_sync",
    "Group": "_group",
    "LifoQueue": "_queues",
    "PriorityQueue": "_queues",
    "Queue": "_queues",
    "SlowHookArgs": "_slow",
    "StreamServer": "_server",
    "as_completed": "_several",
    "dump": "_seeing",
    "dump_on_signal": "_seeing",
    "get_include": "_include",
    "local": "_sync",
    "open": "_files",
    "parallel_map": "_several",
    "serve_top": "_serving",
    "set_timeslice": "_slice",
    "slow_hook": "_slow",
    "trace": "_trace",
    "wait_all": "_several",
    "wait_future": "_several",
}


def __getattr__(name: str):
    """Load on first use what costs an import of the standard library's modules."""
    import importlib

    if name in _MODULES or name in ("interpreters", "patch", "worker"):
        return importlib.import_module(f"microthread.{name}")
    if name in _LATER:
        value = getattr(importlib.import_module(f"microthread.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if "MICROTHREAD_TOP" in _environ and _environ["MICROTHREAD_TOP"] not in ("", "0"):
    from microthread import _serving

    _serving.serve_from_the_start()
