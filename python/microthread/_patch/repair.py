# SPDX-License-Identifier: MIT
"""Finds what was imported or made before the patch, and puts ours in its place where that is safe.

One pass over the collector's objects tells who refers to an original. A copy is replaced where it stands
in a module, in a class or among a function's default arguments. A lock, and the like, is replaced if
nobody holds it and every single reference to it can be changed: two halves of a program never use two
locks for one.
"""

import weakref
from types import BuiltinMethodType, CellType, FunctionType, ModuleType
from typing import Any

from microthread._patch import made
from microthread._patch.log import Change, Log
from microthread._patch.places import Search, is_ours, places_of


def repair(replaced: list, log: Log) -> None:
    """Repair what there is of the originals of these engine.Replaced; note all of it in the log."""
    ours_of = {id(item.original): item.ours for item in replaced}
    originals = list({id(item.original): item.original for item in replaced}.values())
    with_threads = any(item.module.__name__ == "_thread" for item in replaced)
    probe = made.Probe()
    search = Search()
    found = search.referrers(originals)
    objects = [
        referrer
        for original in originals
        if original in made.KINDS
        for referrer in found[id(original)]
        if type(referrer) is original
    ]
    if objects and probe.lock not in objects:
        objects.append(probe.lock)
    found_made = search.referrers(objects)
    owners = _owners(search, [*found.values(), *found_made.values()])
    for original in originals:
        for referrer in found[id(original)]:
            _repair_copy(search, log, referrer, original, ours_of[id(original)], owners)
        if isinstance(original, type):
            _note_class(log, original, ours_of, found[id(original)])
    if with_threads:
        handled = made.repair_threads(log)
        objects = [value for value in objects if id(value) not in handled]
    if objects:
        made.repair(search, log, probe, objects, found_made, owners)


def _owners(search: Search, found: list[list[Any]]) -> dict[int, list[Any]]:
    """Who refers to the dicts, tuples and bound methods among these, by their id."""
    kinds = (dict, tuple, BuiltinMethodType)
    containers = {id(x): x for referrers in found for x in referrers if isinstance(x, kinds)}
    for key in search.modules:
        containers.pop(key, None)
    owners = search.referrers(list(containers.values()))
    # A bound method is mostly kept in the dict of an instance.
    more = {
        id(owner): owner
        for key in containers
        for owner in owners[key]
        if type(owner) is dict and id(owner) not in containers and id(owner) not in search.modules
    }
    owners.update(search.referrers(list(more.values())))
    return owners


# Where a copy may be replaced; elsewhere, who knows what it is for.
_COPIES = (ModuleType, type, FunctionType)


def _repair_copy(
    search: Search, log: Log, referrer: Any, original: Any, ours: Any, owners: dict[int, list[Any]]
) -> None:
    """Replace the copies of an original in a container; note those that are left."""
    is_class = isinstance(original, type)
    if is_class and (type(referrer) is original or isinstance(referrer, _OF_A_CLASS)):
        return
    for place in places_of(search, referrer, original, owners) or ():
        if isinstance(place.owner, _COPIES) and place.setter is not None:
            log.make(Change(place, original, ours))
        elif not is_class or not _is_inheritance(place.owner, owners):
            log.remaining[f"{place.text} refers to the original {_title(original)}"] += 1


# What makes up a class: its methods, descriptors and the cells of super().
_OF_A_CLASS = (
    type,
    BuiltinMethodType,
    CellType,
    FunctionType,
    weakref.ref,
    type(dict.__dict__["fromkeys"]),
    type(int.__add__),
    type(int.real),
    type(str.join),
    type(ModuleType.__dict__["__dict__"]),
    type(Change.text),
)


def _is_inheritance(container: Any, owners: dict[int, list[Any]]) -> bool:
    """Whether this is the tuple of a class's bases."""
    return any(isinstance(owner, type) for owner in owners.get(id(container), ()))


def _title(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _note_class(log: Log, original: type, ours_of: dict[int, Any], referrers: list[Any]) -> None:
    """Note the subclasses of a class that is replaced, and its instances."""
    for cls in original.__subclasses__():
        if not is_ours(cls.__module__) and id(cls) not in ours_of:
            log.remaining[f"{_title(cls)} is a class made earlier of {_title(original)}"] += 1
    if original in made.KINDS or original is made.HANDLE:
        return
    for referrer in referrers:
        if type(referrer) is original and not made.repair_selector(log, referrer):
            log.remaining[f"a {_title(original)} object made earlier blocks as before"] += 1
