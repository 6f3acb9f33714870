# SPDX-License-Identifier: MIT
"""slow_threshold and slow_hook: a report on each micro-thread that keeps its loop for too long.

While the threshold is set an OS thread watches from outside, since who keeps the loop lets nobody else
look. It sleeps in the core without the GIL.
"""

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from microthread import _core
from microthread._core import micro_thread
from microthread._helper import Helper

if TYPE_CHECKING:
    from traceback import StackSummary


class SlowHookArgs(NamedTuple):
    """What slow_hook is called with: who keeps the loop, for how long so far, and where."""

    micro_thread: micro_thread
    seconds: float
    stack: "StackSummary"


def slow_hook(args: SlowHookArgs, /) -> None:
    """Print who keeps the loop, for how long so far and where to sys.stderr.

    Assign a function of your own to microthread.slow_hook to replace it. args has micro_thread,
    seconds and stack (a traceback.StackSummary). It is called once for each time that a micro-thread
    goes on for longer than microthread.slow_threshold without giving way, while that lasts, in an OS
    thread of its own.
    """
    stream = sys.stderr
    if stream is None:
        return
    thread = args.micro_thread
    head = f"micro-thread {thread.name} (id {thread.id}) has kept the loop for {args.seconds:.3f} s:\n"
    stream.write(head + "".join(args.stack.format()))
    stream.flush()


def report(
    watch: Any, thread: micro_thread, seconds: float, frames: list[tuple[FrameType, int]]
) -> None:
    """Call the hook, unless watching has ended; what it raises goes to sys.excepthook."""
    from traceback import StackSummary

    args = SlowHookArgs(thread, seconds, StackSummary.extract(frames))  # it may read files
    frames.clear()
    try:
        hook = sys.modules["microthread"].slow_hook
        if not watch.is_stopped:
            hook(args)
    except BaseException:
        sys.excepthook(*sys.exc_info())


def watch_loops(watch: Any) -> None:
    """The OS thread."""
    for slow in watch:
        report(watch, *slow)
        slow = None  # or the micro-thread would be kept until there is another report


class Watcher:
    """The threshold, and the watch that goes with it."""

    def __init__(self) -> None:
        self.threshold: float | None = None
        self.watch: Any = None
        self.helper = Helper(self.stop, self.start_again)

    def set(self, threshold: float | None) -> None:
        """Begin, change or end watching."""
        watch = None if threshold is None else _core._Watch(threshold)
        old_watch, old_threshold = self.watch, self.threshold
        self.watch, self.threshold = watch, threshold  # first: a report's hook may set it anew
        if watch is not None:
            import traceback  # noqa: F401 - not in the first report, which would come late

            try:
                self.helper.run(lambda: watch_loops(watch))
            except BaseException:
                self.watch, self.threshold = old_watch, old_threshold
                raise
        if old_watch is not None:
            old_watch.stop()

    def stop(self) -> None:
        if self.watch is not None:
            self.watch.stop()
            self.watch = None

    def start_again(self) -> None:
        if self.watch is not None:
            self.watch = None
            self.set(self.threshold)


watcher = Watcher()
