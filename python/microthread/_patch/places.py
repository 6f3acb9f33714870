# SPDX-License-Identifier: MIT
"""Where an object is referred to, found with the help of the collector, and how to change such a place."""

import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import CellType, FunctionType, ModuleType
from typing import Any

from microthread import _core

_OURS = "microthread"
_MISSING = object()


def is_ours(name: Any) -> bool:
    return isinstance(name, str) and (name == _OURS or name.startswith(_OURS + "."))


# ---- how to change a place of each kind ----


def _set_item(owner: Any, key: Any, value: Any) -> None:
    owner[key] = value


def set_member(owner: set, key: list[Any], value: Any) -> None:
    """key: what is there now, in a list that is kept up to date."""
    owner.discard(key[0])
    owner.add(value)
    key[0] = value


def set_attribute(owner: Any, key: str, value: Any) -> None:
    """Of an instance of whatever class."""
    try:
        vars(owner)[key] = value  # past its __setattr__
    except TypeError:  # slots
        object.__setattr__(owner, key, value)


def _set_class_attribute(owner: type, key: str, value: Any) -> None:
    is_plain = hasattr(type(value), "__get__") and not hasattr(type(owner.__dict__[key]), "__get__")
    setattr(owner, key, staticmethod(value) if is_plain else value)


def _set_module_attribute(owner: ModuleType, key: str, value: Any) -> None:
    vars(owner)[key] = value


def _set_default(owner: FunctionType, key: int, value: Any) -> None:
    defaults = owner.__defaults__
    owner.__defaults__ = (*defaults[:key], value, *defaults[key + 1 :])


def _set_keyword_default(owner: FunctionType, key: str, value: Any) -> None:
    owner.__kwdefaults__[key] = value


def _set_cell(owner: CellType, key: None, value: Any) -> None:
    owner.cell_contents = value


# ---- the search ----


class Search:
    """Who refers to what, among all objects that the collector knows."""

    def __init__(self) -> None:
        self.all = gc.get_objects()
        self.modules = {
            id(vars(module)): module
            for module in list(sys.modules.values())
            if isinstance(module, ModuleType)
        }
        self.ours = {id(self.all)}  # what of us refers to anything is not looked at
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and is_ours(module.__name__):
                self.ours.update(map(id, vars(module).values()))

    def referrers(self, objects: list[Any]) -> dict[int, list[Any]]:
        """The containers that refer to each of these, by its id; one for each reference."""
        found = defaultdict(list)
        for referrer, target in _core._referrers(objects, self.all):
            if referrer is not objects:
                found[id(target)].append(referrer)
        return found


class Place:
    """Where a reference stands: what can be changed, or None for the setter."""

    __slots__ = ("owner", "key", "setter", "text")

    def __init__(self, owner: Any, key: Any, setter: Callable | None, text: str) -> None:
        self.owner, self.key, self.setter, self.text = owner, key, setter, text


def name_of(owner: Any) -> str:
    module = getattr(owner, "__module__", None)
    name = getattr(owner, "__qualname__", None) or type(owner).__qualname__
    if not isinstance(owner, (type, FunctionType)):
        module, name = type(owner).__module__, type(owner).__qualname__
    return f"{module}.{name}"


def _keys(mapping: dict, value: Any) -> list[Any]:
    return [key for key, item in list(mapping.items()) if item is value]


def _in_dict(search: Search, referrer: dict, value: Any, owners: Sequence[Any]) -> list[Place] | None:
    """The places of a value in a dict; None if it is one of ours."""
    module = search.modules.get(id(referrer))
    if module is not None:
        if is_ours(module.__name__) or not _is_python(module):
            return None
        return [
            Place(module, key, _set_module_attribute, f"{module.__name__}.{key}")
            for key in _keys(referrer, value)
        ]
    if not owners and "__name__" in referrer and "__doc__" in referrer:
        return None  # what the interpreter keeps of a module of C code
    for owner in owners:
        if id(owner) in search.ours:
            return None
        if is_ours(getattr(owner, "__module__", None)) or is_ours(type(owner).__module__):
            return None
        if isinstance(owner, type):
            return [
                Place(owner, key, _set_class_attribute, f"{name_of(owner)}.{key}")
                for key in _keys(referrer, value)
            ]
        if isinstance(owner, FunctionType):
            if owner.__kwdefaults__ is referrer:
                return [
                    Place(owner, key, _set_keyword_default, f"{name_of(owner)}(*, {key})")
                    for key in _keys(referrer, value)
                ]
            return None  # annotations
        if getattr(owner, "__dict__", None) is referrer:
            return _in_instance(owner, value)
    return [Place(referrer, key, _set_item, "a dict") for key in _keys(referrer, value)]


def _in_instance(owner: Any, value: Any) -> list[Place]:
    name = name_of(owner)
    attributes = getattr(owner, "__dict__", None)
    if not isinstance(attributes, dict):
        attributes = {}
    keys = _keys(attributes, value)
    for cls in type(owner).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in [slots] if isinstance(slots, str) else slots:
            if getattr(owner, slot, _MISSING) is value:
                keys.append(slot)
    if keys:
        return [Place(owner, key, set_attribute, f"{name}().{key}") for key in keys]
    return [Place(owner, None, None, f"a {name} object")]


def _is_python(module: ModuleType) -> bool:
    """Whether a module is not part of the interpreter's own C code, which is left alone."""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    name = getattr(loader, "__name__", type(loader).__name__)
    return name not in ("BuiltinImporter", "ExtensionFileLoader")


def places_of(
    search: Search, referrer: Any, value: Any, owners: dict[int, list[Any]]
) -> list[Place] | None:
    """The places of a value in a container; None if that is one of ours.

    owners: who refers to a dict or tuple, by its id.
    """
    if id(referrer) in search.ours or is_ours(type(referrer).__module__):
        return None
    if isinstance(referrer, dict):
        return _in_dict(search, referrer, value, owners.get(id(referrer), ()))
    if isinstance(referrer, FunctionType):
        return None  # its globals, or its closure, come by themselves
    if type(referrer) is list:
        return [Place(referrer, i, _set_item, "a list") for i, x in enumerate(referrer) if x is value]
    if type(referrer) is set:
        return [Place(referrer, [value], set_member, "a set")]
    if isinstance(referrer, CellType):
        return [Place(referrer, None, _set_cell, "a closure")]
    if isinstance(referrer, tuple):
        for owner in owners.get(id(referrer), ()):
            if isinstance(owner, FunctionType) and owner.__defaults__ is referrer:
                if is_ours(owner.__module__):
                    return None
                return [
                    Place(owner, i, _set_default, f"a default argument of {name_of(owner)}()")
                    for i, item in enumerate(referrer)
                    if item is value
                ]
        return [Place(referrer, None, None, "a tuple")]
    return _in_instance(referrer, value)
