# SPDX-License-Identifier: MIT
"""The package's modules that stand in for the standard library's, and what these have in common."""

from __future__ import annotations

import sys
import types

from microthread import _core

TYPE_CHECKING = False  # typing costs every program's start
if TYPE_CHECKING:
    from typing import Any

# Loaded on first use, as attributes of the package.
NAMES = ("os", "selectors", "signal", "socket", "ssl", "subprocess")


def rebound(function: Any, namespace: dict[str, Any]) -> Any:
    """A copy of a Python function that looks its global names up in this namespace."""
    copy = types.FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(function.__dict__)
    copy.__doc__ = function.__doc__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = namespace.get("__name__", function.__module__)
    return copy


def adopt(standard: types.ModuleType, namespace: dict[str, Any]) -> None:
    """Put all names of a standard module into that of its replacement.

    Its Python functions are bound to the replacement, so that they call what that replaces.
    """
    theirs = vars(standard)
    for name, value in theirs.items():
        if name.startswith("__") and name != "__all__":
            continue
        if isinstance(value, types.FunctionType) and value.__globals__ is theirs:
            value = rebound(value, namespace)
        namespace[name] = value


_is_asyncio_minded = False


def mind_asyncio() -> None:
    """From now on, if asyncio is loaded, each micro-thread has a running loop and task of its own.

    To asyncio they are those of the OS thread.
    """
    global _is_asyncio_minded
    if _is_asyncio_minded or "asyncio.runners" not in sys.modules:
        return
    from asyncio import events, tasks

    _is_asyncio_minded = True
    swap = getattr(tasks, "_swap_current_task", lambda loop, task: None)  # 3.11: each loop has its own
    _core._keep_running_loop(
        events._get_running_loop, events._set_running_loop, tasks.current_task, swap
    )


class CallableModule(types.ModuleType):
    """microthread.select: the function of that name, and the module, which is loaded on first use."""

    __call__ = staticmethod(_core.select)

    @property
    def __signature__(self):
        import inspect

        return inspect.signature(_core.select)

    def __getattr__(self, name: str) -> Any:
        if self.__loader__ is not None or name in ("__path__", "__wrapped__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self._load()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        if self.__loader__ is None:
            self._load()
        return sorted(vars(self))

    def _load(self) -> None:
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(self.__name__, sys.modules["microthread"].__path__)
        self.__spec__, self.__loader__, self.__file__ = spec, spec.loader, spec.origin
        try:
            spec.loader.exec_module(self)
        except BaseException:
            self.__loader__ = None
            raise


class Package(types.ModuleType):
    """The package, in which slow_threshold can be set."""

    @property
    def slow_threshold(self) -> float | None:
        slow = sys.modules.get("microthread._slow")
        return slow.watcher.threshold if slow is not None else None

    @slow_threshold.setter
    def slow_threshold(self, threshold: float | None) -> None:
        from microthread._slow import watcher

        watcher.set(threshold)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._LATER, "slow_threshold"})
