# SPDX-License-Identifier: MIT
"""What was repaired, so that it can be undone, and what could not be."""

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from microthread._core import Lock, RLock
from microthread._patch.places import Place


class Change:
    """A place whose content was replaced, and how to undo that."""

    __slots__ = ("text", "owner", "key", "original", "ours", "setter")

    def __init__(self, place: Place, original: Any, ours: Any) -> None:
        self.text, self.key, self.setter = place.text, place.key, place.setter
        self.original, self.ours = original, ours
        owner = place.owner
        try:
            self.owner: Callable[[], Any] = weakref.ref(owner)
        except TypeError:
            self.owner = lambda: owner

    def make(self) -> None:
        """Put ours there."""
        self.setter(self.owner(), self.key, self.ours)

    def undo(self) -> None:
        """Put the original back, unless it is a lock that somebody holds now."""
        owner = self.owner()
        lock = getattr(self.ours, "__self__", self.ours)
        is_held = isinstance(lock, (Lock, RLock)) and lock.locked()
        if owner is not None and not is_held:
            self.setter(owner, self.key, self.original)


class Log:
    """All changes, and what could not be changed."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.remaining: Counter[str] = Counter()  # what blocks as before, and why; how often

    def make(self, change: Change) -> None:
        """Change a place and note it."""
        change.make()
        self.changes.append(change)

    def undo(self) -> None:
        """Take all changes back, the last one first."""
        while self.changes:
            self.changes.pop().undo()
        self.remaining.clear()
