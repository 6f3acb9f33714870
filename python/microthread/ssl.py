# SPDX-License-Identifier: MIT
"""The standard library's ssl module, with sockets that wait only for their micro-thread.

All of its names are here. A context of this module makes sockets of this module; SSLContext and
SSLSocket are subclasses of the standard ones.
"""

import ssl as _standard
from ssl import *  # noqa: F403  what is public, for those who read only this file
from typing import Any as _Any

from microthread import _core
from microthread import socket as _sockets
from microthread._modules import adopt as _adopt
from microthread._modules import rebound as _rebound

_adopt(_standard, globals())

socket = _sockets.socket
create_connection = _sockets.create_connection

# What microthread.patch puts into the standard module. SSLContext stays, since its own methods name
# it; that it makes sockets of ours is all it needs.
__patched__ = ("SSLContext.sslsocket_class", "SSLSocket")

_standard_context = _standard.SSLContext
_READ, _WRITE = 1, 2
_WANTS = _standard.SSLWantReadError, _standard.SSLWantWriteError
_SSLError, _EOF = _standard.SSLError, _standard.SSL_ERROR_EOF


class SSLSocket(_standard.SSLSocket, _sockets.socket):
    """An ssl.SSLSocket whose calls wait only for the calling micro-thread.

    One micro-thread may read while another one writes. Several that write take turns by TLS record.
    """

    # It names SSLSocket for its own base class, and in the standard module that may be ours by now.
    _create = classmethod(_rebound(_standard.SSLSocket._create.__func__, dict(vars(_standard))))

    _is_shaken = False  # the handshake is over
    _is_drained = False  # the last read came short: no more until the descriptor is readable
    _handshake_lock = _write_lock = None

    def do_handshake(self, block: bool = False) -> None:
        """Do the TLS handshake; of several that call it at once one does."""
        self._check_connected()
        timeout = self.gettimeout()
        try:
            if timeout == 0 and block:
                self.settimeout(None)
            self._handshake(self._sslobj)
        finally:
            if timeout == 0 and block:
                self.settimeout(timeout)

    def _handshake(self, sslobj: _Any) -> None:
        if self._handshake_lock is None:
            self._handshake_lock, self._write_lock = _core.Lock(), _core.Lock()
        lock = self._handshake_lock
        _acquire(lock, self)
        try:
            self._repeat_tls(*_WANTS, _READ | _WRITE, False, sslobj.do_handshake)
            self._is_shaken = True
        finally:
            lock.release()

    def read(self, len: int = 1024, buffer: _Any = None) -> _Any:
        """Read up to len bytes, or into a buffer; b'' or 0 at the end."""
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        if not self._is_shaken and self.gettimeout() != 0:
            self._handshake(sslobj)
        most = len
        if buffer is not None:
            with memoryview(buffer) as view:
                most = len if 0 < len < view.nbytes else view.nbytes
        drained = self._is_drained and most > 0  # what asks for nothing does not wait
        try:
            if buffer is None:
                data = self._repeat_tls(*_WANTS, _READ, drained, sslobj.read, len)
                count = data.__len__()
            else:
                data = count = self._repeat_tls(
                    *_WANTS, _READ, drained, sslobj.read, len, buffer
                )
        except _SSLError as error:
            self._is_drained = False
            if error.args[0] == _EOF and self.suppress_ragged_eofs:
                return b"" if buffer is None else 0
            raise
        self._is_drained = 0 < count < most
        return data

    def write(self, data: _Any) -> int:
        """Write data; returns how many bytes went."""
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        if self.gettimeout() == 0:
            return sslobj.write(data)
        if not self._is_shaken:
            self._handshake(sslobj)
        # A write that waits must be made again with the same data before any other.
        lock = self._write_lock
        if not lock.acquire(False):
            _acquire(lock, self)
        try:
            return self._repeat_tls(*_WANTS, _WRITE, False, sslobj.write, data)
        finally:
            lock.release()

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive up to buflen bytes; b'' when the other side has ended."""
        if self._sslobj is None or flags:
            return super().recv(buflen, flags)
        return self.read(buflen)

    def send(self, data: _Any, flags: int = 0) -> int:
        """Send data; returns how many bytes went."""
        if self._sslobj is None or flags:
            return super().send(data, flags)
        return self.write(data)

    def sendall(self, data: _Any, flags: int = 0) -> None:
        """Send all of it."""
        if self._sslobj is None or flags:
            super().sendall(data, flags)
            return
        sent = 0
        if type(data) is bytes and data:
            sent = self.write(data)
            if sent == len(data):
                return
        with memoryview(data) as view, view.cast("B") as rest:
            while sent < len(rest):
                sent += self.send(rest[sent:])

    def unwrap(self) -> _Any:
        """End TLS in both directions and return the socket below, for plain data."""
        sslobj = self._sslobj
        if not sslobj:
            raise ValueError("No SSL wrapper around " + str(self))
        below = self._repeat_tls(*_WANTS, _READ | _WRITE, False, sslobj.shutdown)
        self._sslobj = None
        return below

    def _say_goodbye(self) -> None:
        """Tell the other side that no more comes, if there is room for it. Never waits."""
        if self._sslobj is not None and self._is_shaken:
            try:
                self._sslobj.shutdown()
            except (OSError, ValueError):
                pass  # it has ended first, or will see a ragged end


def _acquire(lock: _core.Lock, sock: SSLSocket) -> None:
    """Within the time that the socket's time-out gives."""
    timeout = sock.gettimeout()
    if not lock.acquire(timeout=-1 if timeout is None else timeout):
        raise TimeoutError("timed out")


class SSLContext(_standard.SSLContext):
    """An ssl.SSLContext whose wrap_socket() makes an SSLSocket of this module."""

    sslsocket_class = SSLSocket


def _wrap_accepted(context: _standard.SSLContext, sock: _sockets.socket) -> SSLSocket:
    """The server's side of a connection, the handshake still to come; by any context."""
    kind = context.sslsocket_class
    if not issubclass(kind, SSLSocket):
        kind = SSLSocket
    return kind._create(sock, server_side=True, do_handshake_on_connect=False, context=context)
