# SPDX-License-Identifier: MIT
"""StreamServer: a listening socket and a micro-thread for each of its connections."""

import contextlib
import errno
import os
from collections.abc import Callable
from math import isnan
from time import monotonic
from typing import Any

from microthread import _core
from microthread import socket as _socket

# accept() has failed for want of something that comes back when a handler ends, or later.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# accept(2): the one connection is lost already; the next may be well.
_LOST = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.ETIMEDOUT,
}
_HANDSHAKE = 60.0  # seconds; as nginx
_PAUSE = 0.05  # seconds between two tries while there is a shortage

Address = tuple | str | bytes


class StreamServer:
    """Listen on an address and run handler(sock, address) in a micro-thread for each connection.

    address: (host, port), where host is a name, a numeric IPv4 or IPv6 address, or '' for every
    IPv4 one, and port 0 means any free one; or the path of a Unix socket, which is removed by
    stop(). The constructor binds and listens; `address` tells where.

    The connection is closed when its handler ends. What a handler raises goes to excepthook.
    With ssl_context (an ssl.SSLContext for servers) the handler gets the socket after the TLS
    handshake, which is done in the same micro-thread; one that takes longer than 60 seconds, or fails,
    is reported like an error of the handler, which then is not called.
    backlog: connections that the kernel accepts ahead. limit: that many handlers at a time at most;
    further connections are not accepted until one has ended. reuse_port: let several processes
    listen on the same port.

    OSError if the address cannot be bound; TypeError, ValueError for bad arguments.
    """

    __slots__ = (
        "address",
        "_handler",
        "_limit",
        "_listener",
        "_file",
        "_running",
        "_change",
        "_acceptor",
        "_is_serving",
        "_is_stopped",
        "_stopping",
        "__weakref__",
    )

    def __init__(
        self,
        address: Address,
        handler: Callable[[_socket.socket, Any], object],
        *,
        backlog: int = 1024,
        limit: int | None = None,
        ssl_context: Any = None,
        reuse_port: bool = False,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler must be callable, got {type(handler).__name__}")
        if not isinstance(backlog, int):
            raise TypeError(f"backlog must be an int, got {type(backlog).__name__}")
        if limit is not None and not isinstance(limit, int):
            raise TypeError(f"limit must be an int or None, got {type(limit).__name__}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be >= 1 or None, got {limit}")
        if ssl_context is not None:
            handler = _over_tls(self, handler, ssl_context)
        self._handler = handler
        self._limit = limit
        self._running: dict[_core.micro_thread, _socket.socket] = {}
        self._change: _core.deferred | None = None  # fires when a handler has ended, or in stop()
        self._acceptor: _core.micro_thread | None = None  # of start()
        self._is_serving = False  # in serve_forever()
        self._is_stopped = False
        self._stopping: list[_core.micro_thread] = []  # handlers that are in stop()
        self._listener = _listen(address, backlog, reuse_port)
        self.address: Address = self._listener.getsockname()
        self._file = _file_of(self.address)

    def __repr__(self) -> str:
        state = "stopped" if self._is_stopped else "listening"
        return f"<StreamServer {self.address!r}: {state}, {len(self._running)} connections>"

    def start(self) -> None:
        """Begin to accept in a micro-thread of its own; returns at once.

        RuntimeError when it accepts already or has been stopped.
        """
        self._check_new()
        self._acceptor = _core.spawn(self._accept)

    def serve_forever(self) -> None:
        """Accept until stop() is called, and return when the last handler has ended.

        Interrupted by an exception (Ctrl-C, cancellation) it stops at once: handlers are cancelled.
        RuntimeError when it accepts already or has been stopped.
        """
        self._check_new()
        self._is_serving = True
        try:
            self._accept()
            self._wait_until_idle()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, timeout: float | None = None) -> None:
        """Close the listening socket and wait for the handlers; cancel those left after `timeout`.

        timeout: seconds >= 0; None: as long as they take. Cancelled ones are waited for, too.
        A handler that calls it waits neither for itself nor for others that do so, too. May be called
        again. ValueError.
        """
        if timeout is not None and (timeout < 0 or isnan(timeout)):
            raise ValueError(f"timeout must be >= 0, got {timeout!r}")
        if not self._is_stopped:
            self._is_stopped = True
            self._close_listener()
            self._tell()
            if self._acceptor is not None:
                self._acceptor._join()
        me = _core.current()
        if me not in self._running or me in self._stopping:
            return self._wait_or_cancel(timeout)
        self._stopping.append(me)
        self._tell()  # those who wait in stop() need not wait for this one any more
        try:
            self._wait_or_cancel(timeout)
        finally:
            self._stopping.remove(me)

    def _wait_or_cancel(self, timeout: float | None) -> None:
        if not self._wait_until_idle(timeout):
            me = _core.current()
            for thread in list(self._running):
                if thread is not me:
                    thread.cancel()
            self._wait_until_idle()

    # ---- accepting ----

    def _check_new(self) -> None:
        if self._is_stopped:
            raise RuntimeError("the server has been stopped")
        if self._is_serving or (self._acceptor is not None and not self._acceptor.done()):
            raise RuntimeError("the server accepts connections already")

    def _accept(self) -> None:
        accept, begin, limit = self._listener.accept, self._begin, self._limit
        try:
            while not self._is_stopped:
                if limit is not None and len(self._running) >= limit:
                    self._wait_for_change()
                    continue
                try:
                    begin(*accept())
                except OSError as error:
                    if self._is_stopped:
                        break
                    if error.errno in _SHORTAGES:
                        self._wait_for_change(_PAUSE)
                    elif error.errno not in _LOST:
                        raise
                except MemoryError:
                    self._wait_for_change(_PAUSE)
        finally:
            if not self._is_stopped:
                self._listener.close()  # nobody would come to take what knocks

    def _begin(self, sock: _socket.socket, address: Any) -> None:
        if self._is_stopped:  # meanwhile
            sock.close()
            return
        thread = _core.spawn(self._handler, sock, address)
        self._running[thread] = sock
        thread.add_done_callback(self._end)

    def _end(self, thread: _core.micro_thread) -> None:
        """A handler has ended, or was cancelled before it ran."""
        sock = self._running.pop(thread)
        try:
            sock.close()
            if sock.fileno() >= 0:  # somebody has kept a file of it: what was sent still arrives
                with contextlib.suppress(OSError):
                    sock.shutdown(_socket.SHUT_RDWR)
        finally:
            self._tell()

    def _close_listener(self) -> None:
        """Close it, and remove the file of a Unix socket unless somebody else has replaced it."""
        self._listener.close()
        if self._file is not None and _file_of(self.address) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self.address)

    # ---- waiting ----

    def _tell(self) -> None:
        if (change := self._change) is not None:
            self._change = None
            change.callback(None)

    def _wait_for_change(self, timeout: float | None = None) -> None:
        """Until a handler has ended, stop() was called, or the time is up."""
        if self._change is None:
            self._change = _core.deferred()
        with contextlib.suppress(TimeoutError):
            self._change.wait(timeout)

    def _wait_until_idle(self, timeout: float | None = None) -> bool:
        """Until there is no handler left. Returns False when the time is up before.

        A handler does not wait for those that wait for it, itself among them.
        """
        deadline = None if timeout is None else monotonic() + timeout
        is_handler = _core.current() in self._running
        while len(self._running) > (len(self._stopping) if is_handler else 0):
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            self._wait_for_change(left)
        return True


def _over_tls(server: StreamServer, handler: Callable, context: Any) -> Callable:
    """A handler of plain connections that does the handshake and calls one of TLS connections."""
    from microthread import ssl

    if not isinstance(context, ssl._standard_context):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, got {type(context).__name__}")

    def handle(sock: _socket.socket, address: Any) -> None:
        tls = ssl._wrap_accepted(context, sock)
        server._running[_core.current()] = tls  # which is closed in the end
        tls.settimeout(_HANDSHAKE)
        tls.do_handshake()
        tls.settimeout(sock.gettimeout())
        handler(tls, address)
        tls._say_goodbye()

    return handle


def _file_of(address: Address) -> tuple[int, int] | None:
    """What tells the file of a Unix socket from any other; None if there is none."""
    if not isinstance(address, str):  # abstract names are bytes
        return None
    try:
        status = os.lstat(address)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listen(address: Address, backlog: int, reuse_port: bool) -> _socket.socket:
    """A bound, listening socket."""
    if isinstance(address, (str, bytes)):
        return _listen_unix(address, backlog)
    if not isinstance(address, tuple) or len(address) < 2:
        raise TypeError(f"address must be (host, port) or a path, got {address!r}")
    host, port = address[:2]
    if not isinstance(host, (str, bytes)):
        raise TypeError(f"host must be a str, got {type(host).__name__}")
    # getaddrinfo() takes 70000 for 4464.
    if isinstance(port, int) and not 0 <= port <= 65535:
        raise OverflowError(f"port must be from 0 to 65535, got {port}")
    family = _socket.AF_INET
    if host:
        found = _socket.getaddrinfo(
            host, port, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE
        )[0]
        family, address = found[0], found[4]
    return _socket.create_server(address, family=family, backlog=backlog, reuse_port=reuse_port)


def _listen_unix(path: str | bytes, backlog: int) -> _socket.socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
