# SPDX-License-Identifier: MIT
"""interpreters.Space: an object space, an interpreter that serves one request after the other.

After the object spaces proposed for Python in 2006: code goes in, a clone of its value comes back to a
function of the caller's.
"""

from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from typing import Any

from microthread import Lock, _core, _functions
from microthread.interpreters import (
    Interpreter,
    InterpreterClosed,
    RunFailed,
    _finish,
    _original,
    _Request,
    create,
)


class Space:
    """An interpreter of its own in which functions run one at a time, in the order they were asked for.

    own_gil: as for create(). `with` closes it at the end; one that is dropped ends, too.
    """

    def __init__(self, *, own_gil: bool = True) -> None:
        self._interpreter: Interpreter = create(own_gil=own_gil)
        self._turn = Lock()  # fair: who asked first is first

    def __repr__(self) -> str:
        return f"<Space in {self._interpreter!r}>"

    def __enter__(self) -> "Space":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        interpreter = getattr(self, "_interpreter", None)  # none when create() failed
        if interpreter is not None:
            interpreter._worker.stop()

    def run(
        self, response: Callable[[Any], object], fn: Callable[..., Any], /, *args: Any
    ) -> _core.micro_thread:
        """Run fn(*args) in the space, then response(value) here; returns at once.

        fn: an importable function, or one of __main__ that is no closure. args are cloned before this
        returns. The micro_thread that it returns gives what response returned by its wait(), or
        raises what fn raised, and response is not called then: the exception itself where it can be
        rebuilt, else RunFailed. Its cancel() cancels fn.
        TypeError, CloneError; InterpreterClosed after close().
        """
        if not callable(response):
            raise TypeError(f"response must be callable, got {type(response).__name__}")
        parcel = _core._pack((_functions.describe(fn), args, {}))
        self._interpreter._need_worker()
        closings: list[InterpreterClosed] = []
        handle = _core.micro_thread(self._serve, (response, parcel, closings))
        handle.name = f"{getattr(fn, '__name__', 'call')} in {self!r}"
        handle.add_done_callback(partial(_hush, closings))
        handle.start()
        return handle

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The space's global names, those of its __main__; what goes in and out is cloned."""
        return _Globals(self)

    def close(self, timeout: float | None = None) -> None:
        """End the space, as Interpreter.close(). Requests that have not ended raise InterpreterClosed."""
        self._interpreter.close(timeout)

    def _serve(self, response, parcel, closings):
        try:
            value = self._do(parcel)
        except InterpreterClosed as closing:
            closings.append(closing)
            raise
        return response(value)

    def _do(self, parcel):
        try:
            with self._turn:
                return _finish(_Request(self._interpreter, "call", None, parcel).wait())
        except RunFailed as failure:
            raise _original(failure) from None

    def _call(self, fn, *args):
        return self._do(_core._pack((_functions.describe(fn), args, {})))


class _Globals(MutableMapping):
    """Each operation is a request of its own, and waits its turn."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __repr__(self) -> str:
        return f"<globals of {self._space!r}>"

    def __getitem__(self, name: str) -> Any:
        return self._space._call(_get, _checked(name))

    def __setitem__(self, name: str, value: Any) -> None:
        self._space._call(_set, _checked(name), value)

    def __delitem__(self, name: str) -> None:
        self._space._call(_delete, _checked(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._space._call(_names))

    def __len__(self) -> int:
        return len(self._space._call(_names))


def _hush(closings, handle):
    """That the space was closed is no failure to report when nobody waits for the handle."""
    if closings and not handle.cancelled():
        handle.exception()
    closings.clear()  # they refer to the frames that refer to this list


def _checked(name):
    if not isinstance(name, str):
        raise TypeError(f"a global's name must be a str, got {type(name).__name__}")
    return name


# ---- in the space ----


def _main():
    import __main__

    return vars(__main__)


def _get(name):
    return _main()[name]


def _set(name, value):
    _main()[name] = value


def _delete(name):
    del _main()[name]


def _names():
    return list(_main())
