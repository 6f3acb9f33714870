# SPDX-License-Identifier: MIT
"""What takes the place of _thread: threads that are micro-threads, the classes of threading unchanged.

threading is built on a handful of functions of _thread. These are replaced, and so Thread, Timer,
Condition, Event, Semaphore, Barrier and what is derived from them are the standard library's own.
"""

import _thread
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from microthread import _core, _workers
from microthread._core import Lock, RLock
from microthread._modules import mind_asyncio
from microthread._sync import local

# C code that a thread calls expects more room than most micro-threads need; it is only address space.
_STACK = 1024 * 1024
_LEAST_STACK = 32 * 1024  # of _thread.stack_size()

_UNSET: Any = object()

_real = {name: getattr(_thread, name) for name in dir(_thread) if not name.startswith("__")}
_HAS_HANDLES = "start_joinable_thread" in _real  # 3.13 and later

get_ident = _core._get_ident


class _Running:
    """A thread that is a micro-thread, from its start to its end."""

    __slots__ = ("thread", "handle", "sentinel", "daemon")

    def __init__(self, thread: _core.micro_thread, handle: Any, daemon: bool) -> None:
        self.thread = thread
        self.handle = handle
        self.daemon = daemon
        self.sentinel: Lock | None = None  # up to 3.12: held until its end


_running: dict[int, _Running] = {}  # by get_ident()
_stack_size = 0  # what stack_size() set; 0: the default


# ---- starting ----


def start_new_thread(function: Callable[..., Any], args: tuple, kwargs: dict | None = None, /) -> int:
    """As _thread.start_new_thread(): run function in a micro-thread; returns its identifier.

    It is an OS thread where nobody would run micro-threads: see starts_os_threads().
    """
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    if starts_os_threads():
        return _real["start_new_thread"](_as_os_thread, (function, args, kwargs or {}))
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    return _start(function, args, kwargs, None, True)


def start_joinable_thread(
    function: Callable[[], Any], handle: "ThreadHandle | None" = None, daemon: bool = True
) -> "ThreadHandle":
    """As _thread.start_joinable_thread(): run function in a micro-thread; returns its handle."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if handle is None:
        handle = ThreadHandle()
    elif not isinstance(handle, ThreadHandle):
        raise TypeError("'handle' must be a _ThreadHandle")
    if handle._state != "new":
        raise RuntimeError("thread already started")
    if starts_os_threads() or _runs_interpreter(function):
        begin = partial(_as_os_thread, function, (), {})
        handle._real = _real["start_joinable_thread"](begin, daemon=daemon)
        handle._state = "started"
        return handle
    sys.audit("_thread.start_joinable_thread", function, daemon, handle)
    handle._state = "started"
    handle._ident = _start(function, (), None, handle, daemon)
    return handle


_of_os_thread = _real["_local"]()
_early: dict[int, Any] = {}  # OS threads that were there before: their identifiers, and weakly their Thread


def note_os_threads() -> None:
    """Note which OS threads run besides this one: nobody knows what they are about to do."""
    for ident in _core._os_threads():
        if ident != _real["get_ident"]() and ident not in _workers._idents:
            thread = threading._active.get(ident)
            _early[ident] = thread and weakref.ref(thread)


def forget_os_threads() -> None:
    """After the patch is undone."""
    _early.clear()


def starts_os_threads() -> bool:
    """Whether a thread that the calling OS thread starts must be an OS thread.

    Nobody runs micro-threads in a worker of run_blocking(), which waits for its jobs, nor in an OS thread
    that began before the patch and may be in a call that blocks; nor in those that these start.
    """
    if _workers.is_worker() or hasattr(_of_os_thread, "is_marked"):
        return True
    ident = _real["get_ident"]()
    if ident not in _early:
        return False
    # A number is used again, but not with the same Thread.
    thread, known = threading._active.get(ident), _early[ident]
    return thread is known if known is None else thread is not None and thread is known()


def _runs_interpreter(function: Callable[[], Any]) -> bool:
    """Whether this is a thread in which CPython 3.14 and later run an interpreter, which blocks it."""
    owner = getattr(function, "__self__", None)
    target = getattr(owner, "_target", None)
    parts = (getattr(target, "__self__", None), *getattr(owner, "_args", ()))
    return any(type(part).__module__ in _INTERPRETERS for part in parts)


_INTERPRETERS = ("concurrent.futures.interpreter", "concurrent.interpreters")


def _as_os_thread(function: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    _of_os_thread.is_marked = True
    function(*args, **kwargs)


def _start(
    function: Callable[..., Any], args: tuple, kwargs: dict | None, handle: Any, daemon: bool
) -> int:
    mind_asyncio()
    owner = getattr(function, "__self__", None)
    name = None
    if isinstance(owner, threading.Thread):
        name = owner.name
        owner._invoke_excepthook = _without_exits(owner._invoke_excepthook)
    thread = _core.micro_thread(
        _run, (function, args, kwargs or {}), name=name, stack_size=_stack_size or _STACK
    )
    _running[thread.id] = _Running(thread, handle, daemon)
    thread.add_done_callback(_ended)  # also if it never runs
    try:
        thread.start()
    except BaseException:
        del _running[thread.id]
        raise
    return thread.id


def _run(function: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    """A thread's life: what it raises goes nowhere but to the hooks."""
    before = sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()
    try:
        Context().run(function, *args, **kwargs)
    except (SystemExit, _core.MicroThreadExit):
        pass
    except KeyboardInterrupt:
        _interrupt()
    except BaseException as exception:
        _core._report_unraisable(exception, function)
    finally:
        # One Python thread state serves all: what threading.settrace() had set here must not outlive
        # its thread, but what settrace_all_threads() has set meanwhile is everybody's.
        trace, profile = sys.gettrace(), sys.getprofile()
        if trace is not before[0] and (trace is not threading.gettrace() or trace is before[2]):
            sys.settrace(before[0])
        if profile is not before[1] and (profile is not threading.getprofile() or profile is before[3]):
            sys.setprofile(before[1])


def _ended(thread: _core.micro_thread) -> None:
    running = _running.pop(thread.id, None)
    if running is None:
        return
    if running.sentinel is not None and running.sentinel.locked():
        running.sentinel.release()
    if running.handle is not None:
        running.handle._set_done()


def _interrupt() -> None:
    """Ctrl-C came while a thread was running: it is for the main one."""
    _core.threads()[0].throw(KeyboardInterrupt)


def _without_exits(invoke: Callable[[Any], None]) -> Callable[[Any], None]:
    """Thread._invoke_excepthook, which is not told of the end of a cancelled or daemon thread.

    Nor of what a daemon thread raises while the exit ends it: CPython lets it stand where it is.
    """

    def invoke_excepthook(thread: Any) -> None:
        exception = sys.exception()
        if isinstance(exception, KeyboardInterrupt):
            _interrupt()
        elif not isinstance(exception, _core.MicroThreadExit) and not _is_ended_by_exit(exception):
            invoke(thread)

    return invoke_excepthook


def _is_ended_by_exit(exception: BaseException | None) -> bool:
    while exception is not None:
        if type(exception) is _core.MicroThreadExit:
            return True
        exception = exception.__context__
    return False


# ---- waiting for the end ----


class ThreadHandle:
    """_thread._ThreadHandle of a thread that is a micro-thread; 3.13 and later."""

    __slots__ = ("_ident", "_state", "_done", "_real", "__weakref__")

    def __init__(self) -> None:
        self._ident = 0
        self._state = "new"
        self._done = _core.Event()
        self._real: Any = None  # of an OS thread that was started instead

    def __repr__(self) -> str:
        return f"<_ThreadHandle object: ident={self.ident}>"

    @property
    def ident(self) -> int:
        """The identifier, 0 before the start."""
        return self._ident if self._real is None else self._real.ident

    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set() if self._real is None else self._real.is_done()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end. timeout: seconds, None or negative for no limit."""
        if self._state == "new":
            raise RuntimeError("thread not started")
        if timeout is not None and timeout < 0:
            timeout = None
        if self.is_done():
            return _core._heed()  # what its end brought: Ctrl-C
        if self.ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        if self._real is None:
            self._done.wait(timeout)
        else:
            wait_elsewhere(self._real.join, timeout)

    def _set_done(self) -> None:
        if self._state == "new":
            raise RuntimeError("thread not started")
        self._done.set()


def make_thread_handle(ident: int) -> ThreadHandle:
    """A handle of a thread that somebody else started."""
    if not isinstance(ident, int):
        raise TypeError("ident must be an integer")
    handle = ThreadHandle()
    handle._ident, handle._state = ident, "started"
    return handle


class RealHandle(ThreadHandle):
    """A handle of an OS thread that was started before threading was patched."""

    __slots__ = ()

    def __init__(self, real: Any) -> None:
        super().__init__()
        self._real, self._state = real, "started"

    def _set_done(self) -> None:
        self._real._set_done()


class RealSentinel:
    """_tstate_lock of an OS thread; up to 3.12."""

    __slots__ = ("_real",)

    def __init__(self, real: Any) -> None:
        self._real = real

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait for the end of the OS thread."""
        if self._real.acquire(False):
            return True
        if not blocking or timeout == 0:
            return False
        return wait_elsewhere(self._real.acquire, True, timeout)

    def release(self) -> None:
        """Let the others that wait see it, too."""
        self._real.release()

    def locked(self) -> bool:
        """Whether it runs."""
        return self._real.locked()

    def _at_fork_reinit(self) -> None:
        self._real._at_fork_reinit()


def wait_elsewhere(fn: Callable[..., Any], *args: Any) -> Any:
    """Let a worker wait for an OS thread while the micro-threads of this one run."""
    from microthread._run import run_blocking

    return fn(*args) if _workers.is_worker() else run_blocking(fn, *args)


def set_sentinel() -> Any:
    """As _thread._set_sentinel(), up to 3.12: a lock that is released when the calling thread ends."""
    running = _running.get(get_ident())
    if running is None:
        return RealSentinel(_real["_set_sentinel"]())
    running.sentinel = Lock()
    return running.sentinel


_join = threading.Thread.join


def join(self: threading.Thread, timeout: float | None = None) -> None:
    """As Thread.join(), up to 3.12: Ctrl-C comes out of it, also when the thread has ended before."""
    _join(self, timeout)
    _core._heed()


def shut_down() -> None:
    """As _thread._shutdown(), 3.13 and later: wait for all threads that are not daemons."""
    me = get_ident()
    while others := [r for i, r in list(_running.items()) if i != me and not r.daemon]:
        others[0].handle.join()
    _real["_shutdown"]()


def alive() -> int:
    """How many threads run that are micro-threads."""
    return len(_running)


def after_fork() -> None:
    """In the child only the thread that forked is left."""
    _running.pop(get_ident(), None)  # its end is the end of the process
    for running in _running.values():
        if running.handle is not None:
            running.handle._done = _core.Event()
            running.handle._done.set()
    _running.clear()
    _early.clear()


# ---- the rest ----


def stack_size(size: int = _UNSET, /) -> int:
    """As _thread.stack_size(): bytes of C stack for threads started from now on; 0: the default.

    Returns the size before, 0 for the default.
    """
    global _stack_size
    before = _stack_size
    if size is _UNSET:
        return before
    if size < 0:
        raise ValueError("size must be 0 or a positive value")
    if 0 < size < _LEAST_STACK:
        raise ValueError(f"size not valid: {size} bytes")
    _core.micro_thread(int, stack_size=size or None)  # ValueError if it is too large
    _stack_size = size
    return before


def count() -> int:
    """As _thread._count(): how many threads run that are not the main one; workers are none's."""
    return _real["_count"]() - len(_workers._idents) + len(_running)


def set_name(name: str) -> None:
    """As _thread.set_name(), 3.14 and later; a micro-thread's is its own, not its OS thread's."""
    if _core._is_micro():
        _core.current().name = name
    else:
        _real["set_name"](name)


class _DummyThread(threading._DummyThread):
    """What current_thread() gives a micro-thread that was not started by threading."""

    def __init__(self) -> None:
        super().__init__()
        if _core._is_micro():
            thread = _core.current()
            self._name = thread.name
            thread.add_done_callback(_forget_dummy)


_DummyThread.__qualname__ = "_DummyThread"


def _forget_dummy(thread: _core.micro_thread) -> None:
    threading._active.pop(thread.id, None)


def table() -> dict[tuple[str, str], Any]:
    """(module, attribute): what takes its place."""
    leaves: dict[str, Any] = {
        "LockType": Lock,
        "RLock": RLock,
        "_count": count,
        "_local": local,
        "allocate": Lock,
        "allocate_lock": Lock,
        "get_ident": get_ident,
        "stack_size": stack_size,
        "start_new": start_new_thread,
        "start_new_thread": start_new_thread,
    }
    names = {  # in threading
        "Lock": Lock,
        "_CRLock": RLock,
        "_DummyThread": _DummyThread,
        "_allocate_lock": Lock,
        "get_ident": get_ident,
        "local": local,
        "stack_size": stack_size,
    }
    if _HAS_HANDLES:
        leaves |= {
            "_ThreadHandle": ThreadHandle,
            "_make_thread_handle": make_thread_handle,
            "_shutdown": shut_down,
            "lock": Lock,
            "start_joinable_thread": start_joinable_thread,
        }
        names |= {
            "_LockType": Lock,
            "_ThreadHandle": ThreadHandle,
            "_make_thread_handle": make_thread_handle,
            "_start_joinable_thread": start_joinable_thread,
            "_thread_shutdown": shut_down,
        }
    else:
        leaves["_set_sentinel"] = set_sentinel
        names |= {
            "Thread.join": join,
            "_set_sentinel": set_sentinel,
            "_start_new_thread": start_new_thread,
        }
    if "set_name" in _real:
        leaves["set_name"] = names["_set_name"] = set_name
    return {("_thread", name): value for name, value in leaves.items()} | {
        ("threading", name): value for name, value in names.items()
    }
