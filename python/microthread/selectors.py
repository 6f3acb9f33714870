# SPDX-License-Identifier: MIT
"""The standard library's selectors module, with select() that waits only for its micro-thread.

All of its names are here; each selector is a subclass of the standard one.
"""

import selectors as _standard
from selectors import *  # noqa: F403  what is public, for those who read only this file

from microthread import select as _select
from microthread._modules import adopt as _adopt

_adopt(_standard, globals())
select = _select

# What microthread.patch puts into the standard module.
__patched__ = ("DefaultSelector", "EpollSelector", "PollSelector", "SelectSelector")


class SelectSelector(_standard.SelectSelector):
    """A selectors.SelectSelector over microthread.select.select()."""

    _select = staticmethod(select.select)


class PollSelector(_standard.PollSelector):
    """A selectors.PollSelector over microthread.select.poll()."""

    _selector_cls = select.poll


class EpollSelector(_standard.EpollSelector):
    """A selectors.EpollSelector over microthread.select.epoll()."""

    _selector_cls = select.epoll


DefaultSelector = EpollSelector
