# SPDX-License-Identifier: MIT
"""warn_blocking(): names a call that keeps the loop waiting, with the line that makes it.

Watched are the calls from Python code to functions in C that are known to wait: from 3.12 on by
sys.monitoring, which then lets every other place in the code alone; on 3.11 by sys.setprofile, which slows
all calls down. A call is reported when it took long while other micro-threads were there.
"""

import os
import sys
import time
import warnings
from types import BuiltinMethodType, CodeType, FrameType
from typing import Any

from microthread import _core
from microthread._patch import engine, made, threads

LEAST = 0.005  # seconds; what took less is not worth a word

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

_FUNCTIONS = {  # by module
    "_signal": "pause sigtimedwait sigwait sigwaitinfo",
    "_socket": "getaddrinfo gethostbyaddr gethostbyname gethostbyname_ex getnameinfo",
    "_sqlite3": "connect",
    "builtins": "input open",
    "fcntl": "fcntl flock lockf",
    "posix": "copy_file_range fdatasync fsync open pread preadv pwrite pwritev read readv sendfile splice "
    "system wait wait3 wait4 waitid waitpid write writev",
    "select": "select",
    "time": "sleep",
}
_METHODS = {  # by module and class
    "_io.FileIO": "read readall readinto write",
    "_multiprocessing.SemLock": "acquire",
    "_socket.socket": "accept _accept connect connect_ex recv recv_into recvfrom recvfrom_into recvmsg "
    "recvmsg_into send sendall sendmsg sendto",
    "_sqlite3.Connection": "commit execute executemany executescript",
    "_sqlite3.Cursor": "execute executemany executescript fetchall fetchmany fetchone",
    "_ssl._SSLSocket": "do_handshake read shutdown write",
}


class BlockingWarning(RuntimeWarning):
    """A call blocked the OS thread while other micro-threads could have run."""


class Watch:
    """Watches the calls of one OS thread."""

    def __init__(self) -> None:
        self.ident = _get_ident()
        self.began: float | None = None  # of the watched call that is under way
        self.kept: list[Any] = []  # whose ids are in names
        self.names: dict[int, str] = {}
        for items in engine.replaced().values():
            for item in items:
                self.add(item.original, str(item))
        for module, names in _FUNCTIONS.items():
            title = "os" if module == "posix" else module.lstrip("_")
            for name in names.split():
                self.add(getattr(sys.modules.get(module), name, None), f"{title}.{name}")
        for path, names in _METHODS.items():
            module, name = path.split(".")
            self.add_methods(getattr(sys.modules.get(module), name, None), path.lstrip("_"), names)
        for cls in made.KINDS:
            self.add_methods(cls, f"{cls.__module__}.{cls.__name__}", "acquire acquire_lock get")
        for name in ("epoll", "poll"):
            self.add_methods(engine.original("select", name), f"select.{name}", "poll")

    def add(self, function: Any, name: str) -> None:
        """Watch a function, if it is one in C and not ours."""
        if isinstance(function, BuiltinMethodType) and function.__module__ != _core.__name__:
            self.kept.append(function)
            self.names[id(function)] = name

    def add_methods(self, cls: Any, title: str, names: str) -> None:
        """Watch these methods of a class, those that it has."""
        for name in names.split():
            if method := getattr(cls, "__dict__", {}).get(name):
                self.kept.append(method)
                self.names[id(method)] = f"{title}.{name}"

    def name_of(self, function: Any) -> str | None:
        """The name of a watched function, also if it is a bound method."""
        name = self.names.get(id(function))
        if name is None and isinstance(function, BuiltinMethodType):
            for cls in type(function.__self__).__mro__:
                if method := cls.__dict__.get(function.__name__):
                    return self.names.get(id(method))
        return name

    def begin(self) -> None:
        """A watched call begins."""
        if _get_ident() == self.ident:
            self.began = time.perf_counter()

    def end(self, function: Any, frame: FrameType) -> None:
        """It has ended: warn if it took long."""
        if self.began is None or _get_ident() != self.ident:
            return
        took = time.perf_counter() - self.began
        self.began = None
        if took >= LEAST and len(_core.threads()) > 1:
            warn(self.name_of(function), took, frame)


_get_ident = threads._real["get_ident"]


def warn(name: str | None, took: float, frame: FrameType) -> None:
    """Warn of a call made by this frame."""
    import traceback

    stack = "".join(traceback.format_stack(frame)).rstrip()
    warnings.warn_explicit(
        f"{name}() blocked {_core.current().name} and all other micro-threads for {took * 1e3:.0f} ms:\n{stack}",
        BlockingWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


_stop: Any = None  # what ends the watch that is on


def set_watch(on: bool) -> None:
    """Begin to watch the calling OS thread, or end it."""
    global _stop
    if _stop is not None:
        _stop()
        _stop = None
    if on:
        _stop = _monitor(Watch()) if hasattr(sys, "monitoring") else _profile(Watch())


def _monitor(watch: Watch) -> Any:
    """3.12 and later."""
    monitoring = sys.monitoring
    free = [tool for tool in (4, 3, 5) if monitoring.get_tool(tool) is None]
    if not free:
        raise RuntimeError("warn_blocking() needs an identifier of sys.monitoring, and none is free")
    tool = free[0]
    event, disable = monitoring.events, monitoring.DISABLE

    def call(code: CodeType, offset: int, function: Any, first: Any) -> Any:
        if watch.name_of(function) is None or code.co_filename.startswith(_PACKAGE):
            return disable
        watch.begin()

    def end(code: CodeType, offset: int, function: Any, first: Any) -> None:
        if watch.began is not None:
            watch.end(function, sys._getframe(1))

    monitoring.use_tool_id(tool, "microthread")
    monitoring.register_callback(tool, event.CALL, call)
    monitoring.register_callback(tool, event.C_RETURN, end)
    monitoring.register_callback(tool, event.C_RAISE, end)
    monitoring.set_events(tool, event.CALL)

    def stop() -> None:
        monitoring.set_events(tool, 0)
        for number in (event.CALL, event.C_RETURN, event.C_RAISE):
            monitoring.register_callback(tool, number, None)
        monitoring.free_tool_id(tool)

    return stop


def _profile(watch: Watch) -> Any:
    """3.11."""
    if sys.getprofile() is not None:
        raise RuntimeError("warn_blocking() needs sys.setprofile(), which is in use")

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            if watch.name_of(function) and not frame.f_code.co_filename.startswith(_PACKAGE):
                watch.begin()
        elif watch.began is not None and event in ("c_return", "c_exception"):
            watch.end(function, frame)

    sys.setprofile(profile)
    return lambda: sys.setprofile(None)
