# SPDX-License-Identifier: MIT
"""What makefile() of microthread.socket makes: the standard classes for several micro-threads.

Those know OS threads only, and refuse a second micro-thread while a first one waits inside. So each call
is made under a lock of the file; what reads and what writes are two locks where a file does both.
Unlike microthread.open()'s these files may wait when they are dropped: the socket below decides.
"""

import io
from typing import Any

from microthread import _core
from microthread._files import _CLOSE, _NEXT, _guard

DEFAULT_BUFFER_SIZE = io.DEFAULT_BUFFER_SIZE
text_encoding = io.text_encoding


class BufferedReader(io.BufferedReader):
    """As io.BufferedReader, and safe among micro-threads."""

    __slots__ = ("_lock",)

    def __init__(self, raw: io.RawIOBase, buffer_size: int = DEFAULT_BUFFER_SIZE) -> None:
        super().__init__(raw, buffer_size)
        self._lock = _core.RLock()


class BufferedWriter(io.BufferedWriter):
    """As io.BufferedWriter, and safe among micro-threads."""

    __slots__ = ("_lock",)

    def __init__(self, raw: io.RawIOBase, buffer_size: int = DEFAULT_BUFFER_SIZE) -> None:
        super().__init__(raw, buffer_size)
        self._lock = _core.RLock()


class BufferedRWPair(io.BufferedRWPair):
    """As io.BufferedRWPair: one micro-thread may read while another one writes."""

    __slots__ = ("_read_lock", "_write_lock")

    def __init__(
        self,
        reader: io.RawIOBase,
        writer: io.RawIOBase,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        /,
    ) -> None:
        super().__init__(reader, writer, buffer_size)
        self._read_lock, self._write_lock = _core.RLock(), _core.RLock()


class TextIOWrapper(io.TextIOWrapper):
    """As io.TextIOWrapper; safe among micro-threads if it only reads or only writes."""

    __slots__ = ("_lock",)

    def __init__(self, buffer: Any, *args: Any) -> None:
        super().__init__(buffer, *args)
        # None: whoever reads must not keep others from writing.
        self._lock = getattr(buffer, "_lock", None)


_READING = "peek read read1 readinto readinto1 readline readlines"
_guard(BufferedReader, io.BufferedReader, f"close detach {_READING}")
_guard(BufferedWriter, io.BufferedWriter, "close detach flush write writelines")
_guard(BufferedRWPair, io.BufferedRWPair, _READING, "_read_lock")
_guard(BufferedRWPair, io.BufferedRWPair, "flush write writelines", "_write_lock")
BufferedRWPair.close = _core._guard(
    BufferedRWPair,
    _core._guard(BufferedRWPair, io.BufferedRWPair.close, _CLOSE, "_read_lock"),
    _CLOSE,
    "_write_lock",
)
_guard(
    TextIOWrapper,
    io.TextIOWrapper,
    "close detach flush read readline readlines reconfigure write writelines",
)
for _cls, _slot in (
    (BufferedReader, "_lock"),
    (BufferedRWPair, "_read_lock"),
    (TextIOWrapper, "_lock"),
):
    _cls.__next__ = _core._guard(_cls, _cls.__mro__[1].readline, _NEXT, _slot)
