# SPDX-License-Identifier: MIT
"""open(): the standard file classes over descriptors that only their micro-thread waits for.

The standard classes know OS threads only, so every method that might wait is called under a lock of
the file which micro-threads own.
"""

import errno
import io
import operator
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from microthread import _core

_PIPE_SIZE = 65536  # what a pipe holds, mostly

_METHOD, _NEXT, _FINALIZE, _CLOSE, _CLOSED = range(5)  # how a guard calls the method: see src/python/mtpy_guard.c


def _guard(cls: type, base: type, names: str, slot: str = "_lock") -> None:
    """Have these methods of base called under the lock."""
    for name in names.split():
        kind = _CLOSE if name in ("close", "detach") else _METHOD
        setattr(cls, name, _core._guard(cls, getattr(base, name), kind, slot))


def _guard_ends(cls: type, base: type) -> None:
    """Iteration is readline() until nothing comes; the destructor never waits."""
    if cls is not FileIO:
        cls.__next__ = _core._guard(cls, base.readline, _NEXT)
    cls.__del__ = _core._guard(cls, base.__del__, _FINALIZE)


class _Lockable:
    __slots__ = ()

    def lock(self) -> _core.RLock:
        """A re-entrant context manager that keeps several calls together: others' writes wait."""
        return self._lock


class FileIO(io.FileIO, _Lockable):
    """A raw file. A regular one is used by one micro-thread at a time; of a stream only writes are.

    None instead of a wait where the user has made the descriptor of a stream non-blocking.
    """

    # _read_lock is _lock for regular files and None for streams, whose readers wait for long.
    __slots__ = ("_is_stream", "_is_written", "_lock", "_read_lock")

    def __init__(
        self,
        file: int | str | bytes | os.PathLike[Any],
        mode: str = "r",
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> None:
        if opener is None and not isinstance(file, int):
            opener = _core.open_fd
        super().__init__(file, mode, closefd, opener)
        self._is_written = False
        self._is_stream = _core._is_stream_fd(self.fileno())
        self._lock = _core.RLock()
        self._read_lock = None if self._is_stream else self._lock

    def read(self, size: int | None = -1, /) -> bytes | None:
        """At most so many bytes, one system call's worth; all up to the end for -1."""
        if size is None or size < 0:
            return self.readall()
        if not self.readable():
            raise io.UnsupportedOperation("File not open for reading")
        try:
            return _core.read_fd(self.fileno(), size, self._is_stream)
        except BlockingIOError:  # the user has made the descriptor non-blocking
            return None

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill the buffer, as far as there is something; returns the count."""
        if not self.readable():
            raise io.UnsupportedOperation("File not open for reading")
        try:
            return _core.readinto_fd(self.fileno(), buffer, self._is_stream)
        except BlockingIOError:
            return None

    def readall(self) -> bytes | None:
        """All up to the end."""
        if not self.readable():
            raise io.UnsupportedOperation("File not open for reading")
        if not self._is_stream:
            return _core._readall_fd(self.fileno())
        chunks = []
        while chunk := self.read(65536):
            chunks.append(chunk)
        return b"".join(chunks) if chunks else chunk

    def write(self, data: Any, /) -> int | None:
        """Returns how much was written; less than all only to a stream, or when the disk is full."""
        if not self.writable():
            raise io.UnsupportedOperation("File not open for writing")
        self._is_written = not self._is_stream
        try:
            return _core.write_fd(self.fileno(), data, self._is_stream)
        except BlockingIOError:
            return None

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or grow the file; None: to where it stands. Returns the new size."""
        if not self.writable():
            raise io.UnsupportedOperation("File not open for writing")
        if size is None:
            size = self.tell()
        _core.truncate_fd(self.fileno(), size)
        return size

    def close(self) -> None:
        """Close it; what a file system writes back at a close happens off the loop."""
        if self.closed:
            return
        try:
            if self.closefd and getattr(self, "_is_written", False):
                _core._flush_fd(self.fileno())
        finally:
            if self.closefd and getattr(self, "_is_stream", True):
                _core._forget_fd(self.fileno())
            super().close()


class BufferedReader(io.BufferedReader, _Lockable):
    """As io.BufferedReader, and safe among micro-threads."""

    __slots__ = ("_lock",)


class BufferedWriter(io.BufferedWriter, _Lockable):
    """As io.BufferedWriter, and safe among micro-threads."""

    __slots__ = ("_lock",)


class BufferedRandom(io.BufferedRandom, _Lockable):
    """As io.BufferedRandom, and safe among micro-threads."""

    __slots__ = ("_lock",)


class TextIOWrapper(io.TextIOWrapper, _Lockable):
    """As io.TextIOWrapper, and safe among micro-threads."""

    __slots__ = ("_lock", "_raw")

    def detach(self) -> io.BufferedIOBase:
        """Give the buffer back and be of no more use."""
        buffer = super().detach()
        self._raw = None
        return buffer


class StreamReader(BufferedReader):
    """Of a pipe or a tty: what has come is kept until it is handed out, however a wait ends."""

    # _line_ends: those at which read1() stops, for text that is read by lines; b"" for none
    __slots__ = ("_data", "_line_ends", "_size")

    def _fill(self) -> bool | None:
        """Wait for more; False at the end of the file, None if there is nothing and nobody waits."""
        chunk = self.raw.read(self._size)
        self._data += chunk or b""
        return None if chunk is None else bool(chunk)

    def _take(self, size: int) -> bytes:
        if size >= len(self._data):
            part = bytes(self._data)
            self._data.clear()
        else:
            part = bytes(self._data[:size])
            del self._data[:size]
        return part

    def read(self, size: int | None = -1, /) -> bytes | None:
        """So many bytes, fewer at the end of the file only; all up to there for -1.

        Where the user has made the descriptor non-blocking: what is there, None for nothing.
        """
        self._check_readable()
        more = True
        if size is None or size < 0:
            while more := self.raw.read(_PIPE_SIZE):
                self._data += more
            size = len(self._data)
        else:
            while len(self._data) < size and (more := self._fill()):
                pass
        if more is None and not self._data:
            return None
        return self._take(size)

    def read1(self, size: int = -1, /) -> bytes:
        """At most so many bytes; waits only if there are none."""
        self._check_readable()
        if not self._data and size:
            self._fill()
        end = len(self._data)
        if self._line_ends:
            while not (found := self._end_of_lines()) and end < self._size and self._fill():
                end = len(self._data)
            end = found or end
        return self._take(end if size is None or size < 0 else min(size, end))

    def _end_of_lines(self) -> int:
        """Behind the last line that is whole. A lone CR is known by the byte behind it."""
        end = self._data.rfind(b"\n") + 1
        if not end and b"\r" in self._line_ends:
            place = self._data.rfind(b"\r", 0, -1)
            return place + 2 if place >= 0 else 0
        return end

    def peek(self, size: int = 0, /) -> bytes:
        """What is there already; waits only if that is nothing."""
        self._check_readable()
        if not self._data:
            self._fill()
        return bytes(self._data)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to and with the next newline, at most so many bytes."""
        if size == -1 and (end := self._data.find(b"\n") + 1) and not self.closed:
            part = bytes(self._data[:end])  # most often
            del self._data[:end]
            return part
        self._check_readable()
        most = sys.maxsize if size is None or size < 0 else size
        seen = 0
        while (end := self._data.find(b"\n", seen)) < 0 and len(self._data) < most:
            seen = len(self._data)
            if not self._fill():
                break
        return self._take(min(most, end + 1 if end >= 0 else len(self._data)))

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill the buffer; fewer bytes at the end of the file only."""
        return self._copy(self.read, buffer)

    def readinto1(self, buffer: Any, /) -> int | None:
        """The same with what is there; waits only if that is nothing."""
        return self._copy(self.read1, buffer)

    def _copy(self, read: Callable[[int], bytes | None], buffer: Any) -> int | None:
        with memoryview(buffer) as view, view.cast("B") as places:
            if view.readonly:  # before anything is read
                raise TypeError(
                    "readinto() argument must be a read-write bytes-like object, "
                    f"not {type(buffer).__name__}"
                )
            part = read(len(places))
            if part is None:
                return None
            places[: len(part)] = part
        return len(part)

    def _check_readable(self) -> None:
        if self.closed:
            raise ValueError("read of closed file")


class StreamWriter(BufferedWriter):
    """To a pipe or a tty: what was accepted is kept until it is written, however a wait ends."""

    __slots__ = ("_data", "_is_below_text", "_size")

    def write(self, data: Any, /) -> int:
        """Accept it all. Waits when the buffer is full; cancelled before any of it went, it never came."""
        if self.closed:
            raise ValueError("write to closed file")
        before = len(self._data)
        self._data += data
        count = len(self._data) - before
        if len(self._data) > self._size:
            try:
                self.flush()
            except BaseException as error:
                # Text has let go of it, and with it of what was written before.
                if not self._is_below_text and len(self._data) >= count:
                    del self._data[len(self._data) - count :]
                elif isinstance(error, BlockingIOError):
                    error.characters_written = count  # the rest of it is kept
                raise
        return count

    def flush(self) -> None:
        """Write all that was accepted."""
        if self.closed:
            raise ValueError("flush of closed file")
        while self._data:
            with memoryview(self._data) as view, view[:65536] as part:
                count = self.raw.write(part)
            if count is None:
                raise BlockingIOError(errno.EAGAIN, "write could not complete without blocking", 0)
            del self._data[:count]


class StreamTextIOWrapper(TextIOWrapper):
    """Text of a pipe or a tty; half a line stays in the buffer below, however a wait ends."""

    __slots__ = ("_line_ends",)

    def read(self, size: int | None = -1, /) -> str:
        """So many characters, fewer at the end of the file only; all up to there for -1."""
        self.buffer._line_ends = b""
        try:
            return super().read(size)
        finally:
            self.buffer._line_ends = self._line_ends


_ALL = "close detach flush seek tell truncate readlines writelines"
_guard(FileIO, FileIO, "read readinto readall seek tell close", "_read_lock")
_guard(FileIO, FileIO, "write truncate")
_guard_ends(FileIO, io.FileIO)
_guard(BufferedReader, io.BufferedReader, f"{_ALL} peek read read1 readinto readinto1 readline")
_guard(BufferedWriter, io.BufferedWriter, f"{_ALL} write")
_guard(
    BufferedRandom,
    io.BufferedRandom,
    f"{_ALL} peek read read1 readinto readinto1 readline write",
)
_guard(TextIOWrapper, TextIOWrapper, "detach")
_guard(
    TextIOWrapper,
    io.TextIOWrapper,
    "close flush seek tell truncate readlines writelines read readline reconfigure write",
)
TextIOWrapper.closed = _core._guard(TextIOWrapper, io.FileIO.closed, _CLOSED, "_raw")
_guard(StreamReader, StreamReader, "peek read read1 readinto readinto1 readline")
_guard_ends(StreamReader, StreamReader)
_guard(StreamWriter, StreamWriter, "flush write")
_guard(StreamTextIOWrapper, StreamTextIOWrapper, "read")
_guard_ends(StreamTextIOWrapper, io.TextIOWrapper)
for _cls in (BufferedReader, BufferedWriter, BufferedRandom, TextIOWrapper):
    _guard_ends(_cls, _cls.__mro__[1])


def text_over(
    buffer: Any,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    line_buffering: bool = False,
    write_through: bool = False,
) -> TextIOWrapper:
    """Text over a file for bytes that open() made; the parameters are io.TextIOWrapper's."""
    is_read = type(buffer) is StreamReader
    kind = StreamTextIOWrapper if is_read else TextIOWrapper
    text = kind(buffer, encoding, errors, newline, line_buffering, write_through)
    if is_read:
        text._line_ends = buffer._line_ends = _line_ends(text.encoding, newline)
    elif type(buffer) is StreamWriter:
        buffer._is_below_text = True
    text._lock, text._raw = buffer._lock, getattr(buffer, "raw", buffer)
    return text


_raw_modes: dict[str, str] = {}  # mode, once it has been found right -> that of the raw file


def _raw_mode(mode: str) -> str:
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a str, got {type(mode).__name__}")
    letters = set(mode)
    if letters - set("axrwb+t") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in letters and "b" in letters:
        raise ValueError(f"can't have text and binary mode at once: {mode!r}")
    if len(letters & set("axrw")) != 1:
        raise ValueError(f"must have exactly one of create/read/write/append mode: {mode!r}")
    raw = mode.replace("b", "").replace("t", "")
    _raw_modes[str(mode)] = raw
    return raw


def _check_text_options(is_text: bool, buffering: int, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a str or None, got {type(value).__name__}")
        if value is not None and not is_text:
            article = "a" if name == "newline" else "an"
            raise ValueError(f"binary mode doesn't take {article} {name} argument, got {value!r}")
    if buffering == 0 and is_text:
        raise ValueError("can't have unbuffered text I/O: buffering=0 needs a mode with 'b'")


def _line_ends(encoding: str, newline: str | None) -> bytes:
    """What ends a line of text in its bytes, where a byte can say so."""
    if encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")) or newline == "\r":
        return b""
    return b"\r\n" if newline is None or newline == "" else b"\n"


def open(
    file: int | str | bytes | os.PathLike[Any],
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[Any, int], int] | None = None,
) -> IO[Any]:
    """As the builtin open(): opening, reading and writing wait for the calling micro-thread only.

    Regular files are read and written by io_uring or by worker OS threads unless the kernel can
    answer at once; pipes, FIFOs, ttys and other devices by readiness. Several micro-threads may use
    one file; file.lock() keeps several calls together. opener is called in the micro-thread.
    """
    if not isinstance(file, int):
        file = os.fspath(file)
    raw_mode = _raw_modes.get(mode) if isinstance(mode, str) else None
    if raw_mode is None:
        raw_mode = _raw_mode(mode)
    is_text = "b" not in mode
    if not isinstance(buffering, int):
        buffering = operator.index(buffering)
    if buffering == 1 and not is_text:
        import warnings

        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, "
            "the default buffer size will be used",
            RuntimeWarning,
            stacklevel=2,
        )
    if not is_text or encoding is not None or errors is not None or newline is not None or not buffering:
        options = {"encoding": encoding, "errors": errors, "newline": newline}
        _check_text_options(is_text, buffering, options)
    raw = FileIO(file, raw_mode, closefd, opener)
    result = raw
    try:
        is_line_buffered = False
        if buffering == 1 or (buffering < 0 and raw._is_stream and raw.isatty()):
            buffering = -1
            is_line_buffered = True
        if buffering == 0:
            return raw
        if buffering < 0:
            buffering = max(raw._blksize, io.DEFAULT_BUFFER_SIZE)
        # The standard classes know what to do when there is nothing and nobody waits.
        is_pipe_like = raw._is_stream and not raw.seekable() and os.get_blocking(raw.fileno())
        if "+" in mode:
            result = buffer = BufferedRandom(raw, buffering)
        elif "r" in mode:
            kind = StreamReader if is_pipe_like else BufferedReader
            result = buffer = kind(raw, buffering)
            if is_pipe_like:
                buffer._data, buffer._size, buffer._line_ends = bytearray(), buffering, b""
        else:
            kind = StreamWriter if is_pipe_like else BufferedWriter
            result = buffer = kind(raw, buffering)
            if is_pipe_like:
                buffer._data, buffer._size, buffer._is_below_text = bytearray(), buffering, False
        buffer._lock = raw._lock
        if not is_text:
            return buffer
        encoding = io.text_encoding(encoding)
        result = text = text_over(buffer, encoding, errors, newline, is_line_buffered)
        text.mode = mode
        return text
    except BaseException:
        result.close()
        raise
