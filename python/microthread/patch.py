# SPDX-License-Identifier: MIT
"""Old code unchanged: the standard library's blocking calls become waits of the micro-thread.

    from microthread import patch
    patch.all()

As early as can be, best as the first lines of the program, or `python -m microthread program.py`. What
was imported or made earlier is repaired where that is safe; report() says what was, and what was not.
"""

from typing import Any

from microthread._patch import engine
from microthread._patch.report import Report
from microthread._patch.table import OPTIONAL

__all__ = [
    "BlockingWarning",
    "all",
    "is_patched",
    "original",
    "report",
    "undo",
    "warn_blocking",
]


def _patch_one(name: str) -> Any:
    def patch() -> None:
        engine.patch([name])

    patch.__name__ = patch.__qualname__ = name
    patch.__doc__ = f"Patch the part {name!r} alone; a second time changes nothing."
    patch.__module__ = __name__
    return patch


_parts = engine.parts()
globals().update({name: _patch_one(name) for name in _parts})
__all__ += _parts


def all(**which: bool) -> None:
    """Patch all parts but open and input, or as the keywords say: all(socket=False, input=True).

    The order in which parts are patched does not matter, and a second time changes nothing.
    TypeError for a name that is not a part's.
    """
    for name in which:
        if name not in _parts:
            raise TypeError(f"all() has no part {name!r}; there are {', '.join(_parts)}")
    engine.patch([name for name in _parts if which.get(name, name not in OPTIONAL)])


def undo() -> None:
    """Put everything back as it was, the repaired copies and locks included.

    RuntimeError while threads run that were started since, for they are micro-threads.
    """
    engine.undo()


def is_patched(name: str) -> bool:
    """Whether a part is patched now. ValueError for a name that is not a part's."""
    return engine.is_patched(name)


def original(module: str, name: str) -> Any:
    """What this name of this standard module is without the patch: original('time', 'sleep').

    Those of threading come from a copy of the module, in which a Thread is an OS thread.
    AttributeError, ModuleNotFoundError if there is no such thing.
    """
    return engine.original(module, name)


def report() -> Report:
    """What is patched, what was repaired, and what would block as before, and why; see its str()."""
    return Report()


def warn_blocking(on: bool = True) -> None:
    """Warn of calls that block the calling OS thread, by BlockingWarning; False: no more.

    The warning names the call, how long it took, and the line, with its stack. Known are the calls of
    Python code to functions in C that wait: locks, sockets, files, processes, sqlite3, time.sleep. Call it
    after patching. On 3.11 it slows all calls down. RuntimeError if no means to watch is free.
    """
    from microthread._patch import blocking

    blocking.set_watch(on)


def __getattr__(name: str) -> Any:
    """Load on first use what few need."""
    if name == "BlockingWarning":
        from microthread._patch.blocking import BlockingWarning

        return BlockingWarning
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
