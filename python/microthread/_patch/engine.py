# SPDX-License-Identifier: MIT
"""Replaces attributes of the standard modules, and puts them back."""

import importlib
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from microthread._patch import made, repair, table, threads


class Replaced:
    """An attribute of a standard module, or of a class in it, and what is there now.

    Nobody else keeps the original.
    """

    __slots__ = ("module", "path", "owner", "name", "original", "ours")

    def __init__(self, module: ModuleType, path: str, ours: Any) -> None:
        self.module, self.path, self.ours = module, path, ours
        *classes, self.name = path.split(".")
        self.owner: Any = module
        for name in classes:
            self.owner = getattr(self.owner, name)
        self.original = getattr(self.owner, self.name)

    def __str__(self) -> str:
        return f"{self.module.__name__}.{self.path}"


_replaced: dict[str, list[Replaced]] = {}  # by part
_repairs = repair.Log()
_is_at_fork = False


def parts() -> list[str]:
    """The names of all parts, those first that are patched unless they are left out."""
    return list(table.PARTS)


def check(name: str) -> str:
    """The name, if it is that of a part. ValueError."""
    if name not in table.PARTS:
        raise ValueError(f"name must be one of {', '.join(table.PARTS)}, got {name!r}")
    return name


def is_patched(name: str) -> bool:
    """Whether this part is patched now."""
    return check(name) in _replaced


def patch(names: Iterable[str]) -> None:
    """Patch these parts, those that are not patched already, and repair what was made of them."""
    names = [name for name in names if check(name) not in _replaced]
    if not names:
        return
    tables = {name: table.PARTS[name]() for name in names}  # all imports come first
    if "threading" in names:
        _prepare_fork()
        threads.note_os_threads()
    new = []
    for name, entries in tables.items():
        _replaced[name] = replaced = []
        for (module_name, attribute), ours in entries.items():
            item = Replaced(importlib.import_module(module_name), attribute, ours)
            if item.original is not ours:
                setattr(item.owner, item.name, ours)
                replaced.append(item)
        new += replaced
        if name in table.HOOKS:
            table.HOOKS[name].install()
    repair.repair(new, _repairs)


def undo() -> None:
    """Put back everything that patch() replaced and repaired. RuntimeError while its threads run."""
    if "threading" in _replaced and (running := threads.alive()):
        raise RuntimeError(
            f"undo() must come when the threads that are micro-threads have ended; {running} run"
        )
    _repairs.undo()
    threads.forget_os_threads()
    while _replaced:
        name, items = _replaced.popitem()
        if name in table.HOOKS:
            table.HOOKS[name].remove()
        for item in items:
            if getattr(item.owner, item.name) is item.ours:
                setattr(item.owner, item.name, item.original)


def replaced() -> dict[str, list[Replaced]]:
    """What is replaced now, by part."""
    return _replaced


def repairs() -> repair.Log:
    """What was repaired, and what could not be."""
    return _repairs


def original(module: str, name: str) -> Any:
    """What this name of this module was before it was patched; threading's are of a copy of it all."""
    if module == "threading" and is_patched("threading"):
        from microthread._patch import real

        return getattr(real.threading(), name)
    for items in _replaced.values():
        for item in items:
            if item.module.__name__ == module and item.path == name:
                return item.original
    return getattr(importlib.import_module(module), name)


def _prepare_fork() -> None:
    global _is_at_fork
    if not _is_at_fork:
        _is_at_fork = True
        os.register_at_fork(after_in_child=threads.after_fork)
