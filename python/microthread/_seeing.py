# SPDX-License-Identifier: MIT
"""dump(), dump_on_signal() and the words of a DeadlockError: who waits for what, where, for whom."""

import contextlib
import os
import sys
from _queue import Empty
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import FrameType
from typing import Any, Protocol

from microthread import _core
from microthread._core import micro_thread

DEADLOCK_LINES = 50  # of those who wait; and of cycles
PATIENCE = 1.0  # seconds for all other interpreters to answer


class TextWriter(Protocol):
    """What dump() writes to."""

    def write(self, text: str, /) -> Any: ...


# ---- cycles ----


def cycles(threads: Iterable[micro_thread]) -> Iterator[str]:
    """Say which of these wait for one another in a ring of locks and ends.

    Each has at most one that alone can end its wait, so following these from each start, over new
    ground only, finds every ring once.
    """
    waits = {}
    for thread in threads:
        _, how, blocker = _core._wait_of(thread)
        if blocker:
            waits[thread.id] = (thread, how, blocker)
    seen: set[int] = set()
    for start in waits:
        path: dict[int, int] = {}  # id -> place, in order
        here = start
        while here in waits and here not in seen:
            seen.add(here)
            path[here] = len(path)
            here = waits[here][2]
        if here in path:
            ring = [waits[one] for one in list(path)[path[here]:]]
            steps = (f"{how} {waits[blocker][0].name}" for _, how, blocker in ring)
            yield f"cycle: {ring[0][0].name} waits for {', which waits for '.join(steps)}"


# ---- deadlock ----


def is_of_ours(frame: FrameType) -> bool:
    """Whether it is of this package, or of those modules of the library that it stands on."""
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and (name.startswith("microthread.") or name in ("threading", "queue"))


def place_of(thread: micro_thread) -> str:
    """ at FILE:LINE of the innermost frame of the user's code, if there is any."""
    frames = _core._frames_of(thread)
    users = [pair for pair in frames if not is_of_ours(pair[0])]
    for frame, line in (users or frames)[-1:]:
        return f" at {frame.f_code.co_filename}:{line}"
    return ""


def describe_deadlock() -> str:
    """The text of a DeadlockError; called by the core on the main micro-thread, still in its wait."""
    here = get_ident()
    threads = [one for ident, some in _core._all_threads() if ident == here for one in some]
    lines = ["nothing can ever wake anyone:"]
    for thread in threads[:DEADLOCK_LINES]:
        what, _, _ = _core._wait_of(thread)
        if what is not None:
            role = " (done, in its callbacks)" if thread.done() else ""
            lines.append(f"{thread.name}{role} waits for {what}{place_of(thread)}")
    if len(threads) > DEADLOCK_LINES:
        lines.append(f"... and {len(threads) - DEADLOCK_LINES} more")
    rings = list(cycles(threads))
    lines += rings[:DEADLOCK_LINES]
    if len(rings) > DEADLOCK_LINES:
        lines.append(f"... and {len(rings) - DEADLOCK_LINES} more cycles")
    return "\n  ".join(lines)


# ---- dump ----


def stack_of(thread: micro_thread) -> list[str]:
    """Its stack as lines of text, without the frames of this file that are looking at it."""
    import traceback

    frames = _core._frames_of(thread)
    while frames and frames[-1][0].f_globals is globals():
        frames.pop()
    return traceback.StackSummary.extract(frames).format()


def describe_thread(thread: micro_thread) -> Iterator[str]:
    """The lines about one micro-thread."""
    state = thread.state
    what, _, _ = _core._wait_of(thread)
    stack = stack_of(thread)
    if state == "running" and what is not None:
        state = f"running, interrupted in its wait for {what}"
    elif what is not None:
        state = f"waits for {what}"
    elif state == "ready" and not stack:
        state = "ready, not begun"
    if thread.done():
        state = f"done, in its callbacks: {state}" if what else "done, in its callbacks"
    yield f"micro-thread {thread.name} (id {thread.id}): {state}\n"
    yield from stack


def name_os_thread(ident: int) -> str:
    """What threading calls it, if it knows it."""
    threading = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(ident)
    return f"OS thread {ident}" if thread is None else f"OS thread {ident} ({thread.name})"


def describe_interpreter() -> Iterator[str]:
    """The lines about all micro-threads of this interpreter, OS thread by OS thread."""
    _core.current()  # this OS thread is among them, even if it has not used micro-threads yet
    schedulers = _core._all_threads()
    for ident, threads in schedulers:
        ready = sum(thread.state == "ready" for thread in threads)
        yield f"{name_os_thread(ident)}: {len(threads)} micro-threads, {ready} ready\n"
        for thread in threads:
            yield from describe_thread(thread)
        yield "\n"
    for ring in cycles(thread for _, threads in schedulers for thread in threads):
        yield f"{ring}\n"


def own_sleep() -> Callable[[float], None]:
    """time.sleep, the one that blocks: a look at micro-threads lets none of them run."""
    import time

    engine = sys.modules.get("microthread._patch.engine")
    return time.sleep if engine is None else engine.original("time", "sleep")


def answer_of(answers: _core.RecvChannel, end: float) -> str:
    """What an interpreter says; end: when to give up, by monotonic()."""
    sleep = own_sleep()
    while True:
        try:
            return answers.recv_nowait()
        except EOFError:
            return "it is ending\n\n"
        except Empty:
            if monotonic() > end:
                return f"it is busy: no answer within {PATIENCE:g} s\n\n"
        sleep(0.001)


def ask(worker: Any) -> _core.RecvChannel:
    """Ask an interpreter for its lines; the channel for its answer."""
    answers, reply = _core.create_channel()
    _core._forget_calls()  # else the one that is the last of its turn would let others run
    with reply, contextlib.suppress(_core.PipeClosed, ValueError):  # closed meanwhile
        worker.requests().send_nowait(("dump", reply, None))
    return answers


def describe_process() -> Iterator[str]:
    """The lines about all interpreters: this one first, then those of interpreters.create()."""
    here = _core._worker_here()
    own = 0 if here is None else here.id
    others = [one for one in _core._workers() if one.id != own and one.is_ready and not one.is_stopping]
    if others or own:
        yield f"interpreter {own}\n"
    yield from describe_interpreter()
    asked = [(one.id, ask(one)) for one in others]
    end = monotonic() + PATIENCE
    for number, answers in asked:
        yield f"interpreter {number}\n"
        yield answer_of(answers, end)


def dump(file: TextWriter | None = None) -> None:
    """Print every micro-thread of every interpreter: its state, what it waits for and its stack.

    Those of all OS threads, and after those of an interpreter each cycle of micro-threads that wait
    for one another by locks and ends. Lets no micro-thread run. Other interpreters of
    interpreters.create() are asked; one that has not answered within a second is said to be busy. The
    main one is shown only if this is called there. file: anything with write(str); None is
    sys.stderr. What its write() raises is raised.
    """
    if file is None:
        file = sys.stderr
        if file is None:
            return
    if not callable(getattr(file, "write", None)):
        raise TypeError(f"file must have a write() method, got {type(file).__name__}")
    file.write("".join(describe_process()))
    flush = getattr(file, "flush", None)
    if flush is not None:
        flush()


# What handled the signals that dump, before.
_before: dict[int, Any] = {}


def dump_on_signal(signum: int, *, enable: bool = True) -> None:
    """Have each coming of a signal dump() to sys.stderr, and then call its handler of before, if any.

    It works while everything waits, and while a micro-thread keeps the loop with Python code.
    enable=False undoes it. Errors are those of signal.signal(): ValueError outside the main OS
    thread, and for what is no signal.
    """
    import signal
    import traceback  # noqa: F401 - not in the handler, which may come in the middle of an import

    if enable:
        before = signal.signal(signum, dump_and_go_on)
        if before is not dump_and_go_on:
            _before[signum] = before
        if not callable(_before[signum]) or _before[signum] is signal.default_int_handler:
            _core._mark_quiet(int(signum))
    elif signal.getsignal(signum) is dump_and_go_on:
        before = _before[signum]
        signal.signal(signum, signal.SIG_DFL if before is None else before)
        del _before[signum]
    else:
        _before.pop(signum, None)  # somebody has put another one on top, and may still call ours


def dump_and_go_on(signum: int, frame: FrameType | None) -> None:
    """The handler. Whatever is wrong with stderr must not befall the code that is interrupted."""
    if signum not in _before:
        return
    with contextlib.suppress(Exception):
        text = "".join(describe_process())
        try:
            if sys.stderr is not None:
                sys.stderr.write(text)
                sys.stderr.flush()
        except RuntimeError:  # the signal came in the middle of a write to it
            os.write(2, text.encode(errors="backslashreplace"))
    before: Callable[[int, FrameType | None], Any] | Any = _before[signum]
    if callable(before):
        before(signum, frame)
