# SPDX-License-Identifier: MIT
"""Inside of an interpreters.Worker: its messages, and a way to post some to its creator."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from microthread import _core, _functions

__all__ = ["messages", "post_message"]

_ends: tuple[_core.RecvChannel, _core.SendChannel] | None = None


def messages() -> Iterator[Any]:
    """Iterate over what the creator posts; wait for more until it posts no more.

    Raises RuntimeError outside of a Worker.
    """
    return iter(_need_ends()[0])


def post_message(obj: Any, transfer: Iterable[_core.SharedBuffer] = ()) -> None:
    """Send a clone of obj to the creator; as Worker.post_message() does.

    Raises RuntimeError outside of a Worker, PipeClosed when the creator has dropped it.
    """
    _send(_need_ends()[1], obj, transfer)


def _need_ends():
    if _ends is None:
        raise RuntimeError("this interpreter is not that of an interpreters.Worker")
    return _ends


def _send(sender, obj, transfer):
    """Send obj, and detach the buffers in `transfer` if it was sent."""
    buffers = {}
    for buffer in transfer:
        if not isinstance(buffer, _core.SharedBuffer):
            raise TypeError(f"transfer must hold SharedBuffers, got {type(buffer).__name__}")
        buffer._check_detach()
        buffers[id(buffer)] = buffer
    sender.send_nowait(obj)
    for buffer in buffers.values():
        buffer._detach()


def _work(target, args, receiver, sender):
    """What a Worker runs: target is a text, or what _functions.describe() has made of a function."""
    global _ends
    _ends = receiver, sender
    if isinstance(target, str):
        names = vars(sys.modules["__main__"])
        names["args"] = args
        exec(compile(target, "<worker>", "exec"), names)
    else:
        _functions.find(target)(*args)
