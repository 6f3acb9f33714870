# SPDX-License-Identifier: MIT
"""trace(path): a timeline of what each micro-thread does, in a file. The work is in the core."""

from __future__ import annotations

import os
from types import TracebackType

from microthread import _core


class trace:
    """with trace(path): write a timeline that Perfetto and chrome://tracing open to this file.

    Each micro-thread of the interpreter is a track with its name: when it ran, what it waited for
    after that, whom it spawned, its end. Each OS thread has its own group of these, and a track for the
    times in which it had nothing to run. The file is complete when the block is left, in whatever
    way, or the process exits. It is a JSON array of Chrome's trace events, with times in microseconds of
    the monotonic clock.

    Entering raises OSError when the file cannot be opened, and RuntimeError while there is another
    trace; leaving raises OSError when it could not be written. In the child of a fork nothing is
    traced.
    """

    def __init__(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"path must be a str, bytes or os.PathLike, got {type(path).__name__}")
        self._path = path
        self._number = 0

    def __enter__(self) -> trace:
        self._number = _core._begin_trace(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _core._end_trace(self._number)
