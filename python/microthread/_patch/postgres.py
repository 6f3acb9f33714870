# SPDX-License-Identifier: MIT
"""psycopg2 waits inside libpq unless it has a wait callback: it gets one, at once or when it is imported.

A callback that the program sets itself is left alone, before and after.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from microthread import wait_readable, wait_writable

PLACE = "psycopg2.extensions.set_wait_callback"  # for the report


def wait(connection: Any) -> None:
    """psycopg2's wait callback: return when what the connection does is done.

    If this raises (Cancelled among others) psycopg2 closes the connection.
    """
    from psycopg2 import OperationalError, extensions

    while (state := connection.poll()) != extensions.POLL_OK:
        if state == extensions.POLL_READ:
            wait_readable(connection.fileno())
        elif state == extensions.POLL_WRITE:
            wait_writable(connection.fileno())
        else:
            raise OperationalError(f"poll() must return a state to wait for, got {state!r}")


def install() -> None:
    """Set the callback now if psycopg2 is there, else as soon as it is imported."""
    if "psycopg2" in sys.modules:
        _set()
    else:
        sys.meta_path.insert(0, _finder)


def remove() -> None:
    """Undo install()."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    if "psycopg2" in sys.modules:
        from psycopg2 import extensions

        if extensions.get_wait_callback() is wait:
            extensions.set_wait_callback(None)


def _set() -> None:
    from psycopg2 import extensions

    if extensions.get_wait_callback() is None:
        extensions.set_wait_callback(wait)


class _Finder:
    """Asks the other finders, and has what they find do more."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "psycopg2":
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)):
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """The loader it is made of, which it puts back; exec_module() sets the callback at its end."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if _finder in sys.meta_path:  # not undone in the meantime
            sys.meta_path.remove(_finder)
            _set()


_finder = _Finder()
