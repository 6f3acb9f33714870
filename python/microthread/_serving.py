# SPDX-License-Identifier: MIT
"""serve_top(): what python -m microthread.top shows of this process.

An OS thread of its own answers, so that it can also tell who keeps the loop; it takes no part in
micro-threads, deadlocks or the end of the process. Each connection gets one JSON text and is closed.
"""

from __future__ import annotations

import _io
import _socket
import atexit
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from microthread import _core, _workers

MOST_SHOWN = 1000  # micro-threads of each OS thread that are described one by one
PATIENCE = 5.0  # seconds for a client to take its answer
LOOPBACK = ("127.", "::1", "localhost")


def runtime_folders(uid: int) -> list[str]:
    """Where the sockets of a user's processes may be, the likeliest first."""
    folders = []
    runtime = os.environ.get("XDG_RUNTIME_DIR") if uid == os.geteuid() else f"/run/user/{uid}"
    if runtime and os.path.isdir(runtime):
        folders.append(os.path.join(runtime, "microthread"))
    temporary = os.environ.get("TMPDIR") or "/tmp"
    return [*folders, os.path.join(temporary, f"microthread-{uid}")]


def make_folder() -> str:
    """This user's, which nobody else can read. OSError when there is none and none can be made."""
    problem: OSError | None = None
    for folder in runtime_folders(os.geteuid()):
        try:
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            found = os.lstat(folder)
            if found.st_uid == os.geteuid() and found.st_mode & 0o170077 == 0o040000:
                return folder
            problem = PermissionError(1, "it must be a folder of this user's with mode 0700", folder)
        except OSError as error:
            problem = error
    assert problem is not None
    raise problem


def interpreter_id() -> int:
    """The number of the interpreter that this is; 0 is the main one."""
    from microthread import interpreters

    return interpreters.get_current().id


def parse_address(text: str) -> str | tuple[str, int]:
    """A path if it has a slash, else host:port."""
    if "/" in text:
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not int(port) < 1 << 16:
        raise ValueError(f"address must be a path with a slash in it or host:port, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def open_listener(address: str | tuple[str, int]) -> _socket.socket:
    """The standard library's own socket: patches and micro-threads do not touch it."""
    if isinstance(address, str):
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    else:
        family = _socket.AF_INET6 if ":" in address[0] else _socket.AF_INET
        listener = _socket.socket(family, _socket.SOCK_STREAM)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o600)  # nobody can connect before listen()
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


# ---- what is told ----


def cpu_seconds(os_thread: int) -> float | None:
    """The processor time that an OS thread has used; None where the system does not say."""
    try:
        with _io.FileIO(f"/proc/self/task/{os_thread}/schedstat") as file:
            return int(file.read(100).split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def name_of_os_thread(ident: int) -> str:
    threading = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(ident)
    return "" if thread is None else thread.name


def snapshot(interpreter: int) -> dict[str, Any]:
    """All that the client is told, as it is now."""
    loops = _core._loops(MOST_SHOWN)
    now = time.monotonic()
    for loop in loops:
        loop["name"] = name_of_os_thread(loop.pop("ident"))
        loop["cpu"] = cpu_seconds(loop["os_thread"])
        rows = []
        for thread in loop.pop("micro_threads"):
            rows.append((thread.id, thread.name, thread.state, _core._wait_of(thread)[0]))
        loop["micro_threads"] = rows
    return {"pid": os.getpid(), "interpreter": interpreter, "time": now, "loops": loops,
            "program": " ".join(getattr(sys, "argv", []))}


class Server:
    """The listener and its OS thread; one for each interpreter."""

    def __init__(self) -> None:
        self.address: str | tuple[str, int] | None = None
        self.is_by_pid = False
        self.listener: _socket.socket | None = None
        self.join: Callable[[], object] | None = None
        self.is_prepared = False

    def start(self, address: str | tuple[str, int] | None) -> None:
        self.interpreter = interpreter_id()
        self.is_by_pid = address is None
        if address is None:
            number = f"-{self.interpreter}" if self.interpreter else ""
            address = os.path.join(make_folder(), f"{os.getpid()}{number}.sock")
            with suppress(FileNotFoundError):
                os.unlink(address)  # of an earlier process with this number
        self.listener = open_listener(address)
        self.address = address if isinstance(address, str) else self.listener.getsockname()[:2]
        if not self.is_prepared:
            atexit.register(self.stop)
            os.register_at_fork(after_in_child=self.start_again)
            self.is_prepared = True
        self.join = _workers._start(self.serve)  # also under patch.threading()

    def serve(self) -> None:
        """The OS thread."""
        _core._mark_service_thread()  # it wakes nobody: a deadlock is one beside it, too
        while (listener := self.listener) is not None:
            try:
                number, _ = listener._accept()
            except OSError:
                if self.listener is None:
                    return
                time_to_breathe()
                continue
            with suppress(OSError):
                self.answer(_socket.socket(fileno=number))

    def answer(self, client: _socket.socket) -> None:
        try:
            client.settimeout(PATIENCE)
            client.sendall(json.dumps(snapshot(self.interpreter)).encode())
        finally:
            client.close()

    def stop(self) -> None:
        listener, self.listener = self.listener, None
        if listener is None:
            return
        with suppress(OSError):
            listener.shutdown(_socket.SHUT_RDWR)  # ends the accept() that is under way
        if self.join is not None:
            self.join()
        listener.close()
        if isinstance(self.address, str):
            with suppress(OSError):
                os.unlink(self.address)
        self.address = None

    def start_again(self) -> None:
        """In the child of a fork: the listener is its parent's; by its own number it can serve, too."""
        if self.listener is None:
            return
        self.listener.close()
        self.listener = self.address = None
        if self.is_by_pid:
            with suppress(OSError):
                self.start(None)


def time_to_breathe() -> None:
    """Too many open files, perhaps: do not spin."""
    lock = _workers._allocate_lock()
    lock.acquire()
    lock.acquire(True, 0.1)


server = Server()


def serve_top(
    address: str | os.PathLike[str] | tuple[str, int] | None = None, *, loopback_only: bool = True
) -> str | tuple[str, int]:
    """Have python -m microthread.top show this interpreter's micro-threads; returns the address.

    address: None is a Unix socket with the number of the process, in $XDG_RUNTIME_DIR/microthread or a
    folder of the user's own below the folder for temporary files; a path; or (host, port) or "host:port",
    for TCP, where everybody on this machine can look. The host must be a loopback one unless
    loopback_only is False. MICROTHREAD_TOP=1 in the environment calls serve_top() when the package is
    imported. It serves until the process ends.

    Serving already: the address of that if it is the same one, else RuntimeError. ValueError for an
    address that is none; OSError if it cannot be used.
    """
    if isinstance(address, os.PathLike):
        address = os.fspath(address)
    if isinstance(address, str) and "/" not in address:
        address = parse_address(address)
    if isinstance(address, tuple):
        if len(address) != 2 or not isinstance(address[0], str) or not isinstance(address[1], int):
            raise ValueError(f"address must be a (host, port), got {address!r}")
        if loopback_only and not address[0].startswith(LOOPBACK):
            raise ValueError(
                f"address must be a loopback one, such as 127.0.0.1, unless loopback_only=False, "
                f"got {address[0]!r}"
            )
    elif address is not None and not isinstance(address, str):
        raise TypeError(f"address must be a path, (host, port) or None, got {type(address).__name__}")
    if server.listener is None:
        server.start(address)
    elif address not in (None, server.address):
        raise RuntimeError(f"this interpreter serves at {server.address!r} already")
    assert server.address is not None
    return server.address


def serve_from_the_start() -> None:
    """MICROTHREAD_TOP=1: the program is not to fail because of it."""
    try:
        serve_top()
    except (OSError, RuntimeError) as error:
        if sys.stderr is not None:
            sys.stderr.write(f"microthread: MICROTHREAD_TOP=1: cannot serve: {error}\n")
