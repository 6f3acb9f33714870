# SPDX-License-Identifier: MIT
"""The one table of what is replaced by what."""

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any

import microthread
from microthread._patch import handlers, postgres

# (standard module, attribute, or attribute of a class in it): what takes its place
Table = dict[tuple[str, str], Any]

# Those whose replacement is a module of this package; its __patched__ names the attributes.
_MODULES = ("socket", "ssl", "select", "selectors", "subprocess", "signal", "os")


def _time() -> Table:
    from microthread import _core

    return {("time", "sleep"): _core.sleep}


def _threading() -> Table:
    from microthread._patch import threads

    entries = threads.table() | {
        ("signal", "signal"): handlers.signal,
        ("signal", "getsignal"): handlers.getsignal,
    }
    with suppress(ImportError):  # no semaphores on this machine
        from microthread._patch import processes

        entries["_multiprocessing", "SemLock"] = processes.SemLock
    return entries


def _queue() -> Table:
    from microthread import _core

    # Queue and its kin stand on threading's Lock and Condition.
    return {("_queue", "SimpleQueue"): _core.SimpleQueue, ("queue", "SimpleQueue"): _core.SimpleQueue}


def _open() -> Table:
    return {("builtins", "open"): microthread.open, ("io", "open"): microthread.open}


def _input() -> Table:
    from microthread._patch import console

    return {("builtins", "input"): console.input}


def _module(name: str) -> Callable[[], Table]:
    def table() -> Table:
        ours = importlib.import_module(f"microthread.{name}")
        return {(name, attribute): attrgetter(attribute)(ours) for attribute in ours.__patched__}

    return table


def _exists(name: str) -> bool:
    return any(os.path.exists(f"{folder}/{name}.py") for folder in microthread.__path__)


PARTS: dict[str, Callable[[], Table]] = {
    "time": _time,
    "threading": _threading,
    "queue": _queue,
    **{name: _module(name) for name in _MODULES if _exists(name)},
    **({"open": _open} if "open" in microthread.__all__ else {}),
    "psycopg2": dict,  # nothing of the standard library: see HOOKS
    "input": _input,
}

# Parts that change what is no attribute of a standard module: each has install(), remove(), PLACE.
HOOKS = {"psycopg2": postgres, "threading": handlers}

# Only when asked for by name.
OPTIONAL = ("open", "input")
