# SPDX-License-Identifier: MIT
"""set_timeslice(): preemption. When a turn lasts too long a handler is called as if a signal had come."""

import _signal
import _thread
import gc
import opcode
import os
from typing import Any

from microthread import _core
from microthread._helper import Helper

LEAST, MOST = 0.001, 3600.0  # seconds

# Where the evaluation loop looks for signals itself, so that no C function can be under way.
_BOUNDARIES = bytes(
    number
    for name, number in opcode.opmap.items()
    if name == "RESUME" or ("JUMP_BACKWARD" in name and "NO_INTERRUPT" not in name and number < 256)
)


def set_timeslice(seconds: float | None) -> None:
    """Turn on preemption for this OS thread: who runs for longer than that has to let others run.

    seconds: from 0.001 to 3600; None, as at first, turns it off. A turn lasts between one and two
    slices. A micro-thread gives way between two bytecodes, at the end of a loop's round or at the
    beginning of a function, but not within a C function, a destructor, a trace function, the garbage
    collector, an import's machinery or this package. Nothing is raised there: cancellation comes at
    waits, as ever.

    Code that counts on running alone until it waits breaks with it, and one that is made to give way
    while it holds a lock of threading's that is not patched can block the OS thread for good.

    ValueError for other numbers. RuntimeError outside the main OS thread of the main interpreter, where
    CPython has no way to interrupt code and go on with it.
    """
    if seconds is not None:
        value = float(seconds)
        if not LEAST <= value <= MOST:  # not NaN either
            raise ValueError(f"seconds must be None or from {LEAST} to {MOST:.0f}, got {seconds!r}")
        slicer.set(value)
    elif slicer.seconds is not None and is_home():
        slicer.set(None)


def is_home() -> bool:
    """Whether this OS thread is the one in which CPython calls the handlers of signals."""
    _core.current()  # its loop is there from now on
    return _thread.get_native_id() == os.getpid() and _core._signal_fd() >= 0


class Slicer:
    """The time slice, and the OS thread that goes with it."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.slice: Any = None
        self.signal = 0
        self.helper = Helper(self.stop, self.start_again)

    def set(self, seconds: float | None) -> None:
        """Begin, change or end it."""
        if not is_home():
            raise RuntimeError(
                "set_timeslice() works in the main OS thread of the main interpreter only: elsewhere "
                "CPython has no way to interrupt code and go on with it"
            )
        if seconds is not None and not self.signal:
            self.prepare()
        self.stop()
        self.seconds = seconds
        if seconds is not None:
            self.slice = _core._Slicer(seconds, self.signal, _BOUNDARIES)
            _signal.signal(self.signal, self.slice.preempt)  # and stays: one may be on its way
            _core._mark_quiet(self.signal)
            gc.callbacks.insert(0, self.slice.note_gc)
            gc.callbacks.append(self.slice.note_gc)
            self.helper.run(self.slice.run)

    def prepare(self) -> None:
        """Find a signal that nobody uses. It is never sent; its number is what CPython asks for."""
        for number in range(_signal.SIGRTMAX, _signal.SIGRTMIN - 1, -1):
            if _signal.getsignal(number) == _signal.SIG_DFL:
                break
        else:
            raise RuntimeError("set_timeslice() needs a real-time signal that has no handler")
        self.signal = number

    def stop(self) -> None:
        if self.slice is not None:
            self.slice.stop()
            for _ in range(2):
                if self.slice.note_gc in gc.callbacks:
                    gc.callbacks.remove(self.slice.note_gc)
            self.slice = None

    def start_again(self) -> None:
        if self.slice is not None:
            self.set(self.seconds)


slicer = Slicer()
