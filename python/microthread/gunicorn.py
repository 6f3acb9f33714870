# SPDX-License-Identifier: MIT
"""A worker class for gunicorn: gunicorn -k microthread.gunicorn.Worker app:application

Each connection is served by a micro-thread; the standard library is patched in the worker process
before the application is loaded, so that the application's own blocking calls let the others go on.
gunicorn's settings mean what they mean for its other asynchronous workers: worker_connections (how
many at a time for each listening socket), keepalive, timeout, graceful_timeout, max_requests.
"""

import errno
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from time import monotonic, time
from types import SimpleNamespace
from typing import Any

from gunicorn import util
from gunicorn.http import message, parser, wsgi
from gunicorn.workers.base_async import AsyncWorker

from microthread import BoundedSemaphore, Event, _core, move_on_after, patch, sleep, spawn
from microthread import socket as _socket

_BEAT = 1.0  # seconds between two signs of life to gunicorn's master
_JOINED_SIZE = 65536  # bytes; a larger first piece is not copied to go out with the head


class _Pieces(list):
    """Stands in for the socket while what is to be sent is collected."""

    sendall = list.append


class _Response(wsgi.Response):
    """Sends its head together with the first piece of its body."""

    def write(self, arg: bytes) -> None:
        if self.headers_sent or not isinstance(arg, bytes) or len(arg) > _JOINED_SIZE:
            super().write(arg)
            return
        sock, pieces = self.sock, _Pieces()
        self.sock = pieces
        try:
            super().write(arg)
        finally:
            self.sock = sock
            if pieces:
                sock.sendall(b"".join(pieces))


def _remember_date(http_date: Callable[..., str]) -> Callable[..., str]:
    """The same function, which makes the text of the present once a second."""
    known = (0, "")  # one object, so that OS threads find them together

    def remembered(timestamp: float | None = None) -> str:
        nonlocal known
        if timestamp is not None:
            return http_date(timestamp)
        now = int(time())
        second, text = known
        if now != second:
            text = http_date(now)
            known = (now, text)
        return text

    return remembered


def _skip_empty_body(finish_body: Callable[..., bool]) -> Callable[..., bool]:
    """The same method, which asks for the rest of a request's body only where there may be one."""

    def finish(self: Any, *args: Any, **kwargs: Any) -> bool:
        body = self.mesg and self.mesg.body
        if body and not getattr(body, "failed", False) and getattr(body.reader, "length", None) == 0:
            return True
        return finish_body(self, *args, **kwargs)

    return finish


def _quicken() -> None:
    """Have gunicorn, in this process, make once what it makes anew at each request."""
    wsgi.Response = _Response
    util.http_date = _remember_date(util.http_date)
    if hasattr(parser.Parser, "finish_body"):  # neither in gunicorn 23
        parser.Parser.finish_body = _skip_empty_body(parser.Parser.finish_body)
    if hasattr(message, "ipaddress"):
        names = vars(message.ipaddress)
        message.ipaddress = SimpleNamespace(**names | {"ip_address": lru_cache(1024)(names["ip_address"])})


def _keep_settings_at_hand(config: Any) -> None:
    """Make each of gunicorn's settings an attribute of its own: requests read many, by __getattr__."""

    def set(name: str, value: Any) -> None:
        type(config).set(config, name, value)
        vars(config)[name] = config.settings[name].get()

    vars(config).update({name: setting.get() for name, setting in config.settings.items()}, set=set)


class Worker(AsyncWorker):
    """Serves every connection in a micro-thread."""

    def init_process(self) -> None:
        patch.all()
        _keep_settings_at_hand(self.cfg)
        _quicken()
        for each in self.sockets:
            each.sock = _socket.socket(fileno=each.sock.detach())
        self._tls = self._tls_context() if self.cfg.is_ssl else None
        self._leave = Event()
        self._handlers: set[_core.micro_thread] = set()
        super().init_process()

    def _tls_context(self) -> Any:
        from gunicorn.sock import ssl_context  # not in gunicorn 20

        return ssl_context(self.cfg)

    def timeout_ctx(self) -> Any:
        """Around the wait for the next request of a connection that is kept alive."""
        return move_on_after(self.cfg.keepalive)

    def run(self) -> None:
        """Serve until the master says to leave, and then what has begun, for graceful_timeout seconds."""
        acceptors = [spawn(self._accept, listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self._leave.wait(_BEAT)
        for acceptor in acceptors:
            acceptor.cancel()
        for acceptor in acceptors:
            acceptor._join()  # it may have a connection in its hands
        # The listening sockets stay open: gunicorn asks them for their names at each request.
        deadline = monotonic() + self.cfg.graceful_timeout
        while self._handlers and monotonic() < deadline:
            self.notify()
            self._wait_for_handlers(min(_BEAT, max(0.0, deadline - monotonic())))
        if self._handlers:
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
            for thread in self._handlers:
                thread.cancel()
            self._wait_for_handlers(_BEAT)

    def notify(self) -> None:
        super().notify()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self._leave.set()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            if not self.alive:  # max_requests
                self._leave.set()

    # ---- connections ----

    def _accept(self, listener: Any) -> None:
        room = BoundedSemaphore(self.worker_connections)
        while True:
            room.acquire()
            try:
                client, address = listener.sock.accept()
            except OSError as error:
                room.release()
                if error.errno == errno.EBADF:
                    return
                self.log.warning("accept on %s: %s", listener, error)
                sleep(0.05)
                continue
            thread = spawn(self._serve, listener, client, address)
            self._handlers.add(thread)
            thread.add_done_callback(lambda thread: (self._handlers.discard(thread), room.release()))

    def _serve(self, listener: Any, client: Any, address: Any) -> None:
        client.settimeout(None)
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(
                    client,
                    server_side=True,
                    suppress_ragged_eofs=self.cfg.suppress_ragged_eofs,
                    do_handshake_on_connect=self.cfg.do_handshake_on_connect,
                )
            except OSError as error:
                self.log.debug("TLS with %s: %s", address, error)
                return
        self.handle(listener, client, address)

    def _wait_for_handlers(self, seconds: float) -> None:
        with move_on_after(seconds):
            for thread in list(self._handlers):
                thread._join()
