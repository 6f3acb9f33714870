# SPDX-License-Identifier: MIT
"""The standard library's socket module, with calls that wait only for their micro-thread.

All of its names are here. `socket` is a subclass of the standard class; its time-outs, errors and
addresses are the same. Host names are looked up in worker OS threads.
"""

import errno as _errno
import os as _os
import socket as _standard
import types as _types
from socket import *  # noqa: F403  what is public, for those who read only this file
from typing import Any as _Any
from weakref import ref as _ref

import _socket
from microthread import _core
from microthread._modules import adopt as _adopt
from microthread._modules import rebound as _rebound
from microthread._run import run_blocking as _run_blocking

__all__ = list(_standard.__all__)


# create_connection(), create_server(), getfqdn() and whatever else this version of Python has.
_adopt(_standard, globals())

# What microthread.patch puts into the standard module; its other functions call these.
__patched__ = (
    "getaddrinfo",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "socket",
)

# What blocks the OS thread; kept, since microthread.patch puts ours in its place.
_blocking = _types.SimpleNamespace(
    getaddrinfo=_standard.getaddrinfo,
    gethostbyname=_standard.gethostbyname,
    gethostbyname_ex=_standard.gethostbyname_ex,
    gethostbyaddr=_standard.gethostbyaddr,
    getnameinfo=_standard.getnameinfo,
)
_READ, _WRITE = 1, 2
_NOW = _standard.MSG_DONTWAIT  # a descriptor that somebody has made blocking does not stop us
_Address = tuple | str | bytes | bytearray
_standard_makefile = _standard.socket.makefile  # before microthread.patch puts ours in its place
_makefile = None  # the same over files of ours; made when it is first called
_SocketType = _core._make_socket_type(_standard)
_numbered: dict[int, _ref] = {}  # those whose descriptor somebody asked for, by that


def _is_numeric(host: _Any) -> bool:
    """Whether a host needs no looking up."""
    if not isinstance(host, str):
        return host is None
    if host in ("", "<broadcast>"):
        return True
    family, text = _standard.AF_INET, host
    if ":" in host:
        family, text = _standard.AF_INET6, host.partition("%")[0]
    try:
        _socket.inet_pton(family, text)
    except (OSError, ValueError):  # ValueError: characters that no address has
        return False
    return True


class socket(_SocketType):
    """socket(family=AF_INET, type=SOCK_STREAM, proto=0, fileno=None) -> socket object

    A socket.socket whose calls wait only for the calling micro-thread. The descriptor below is
    always non-blocking; the time-out is this object's own. Any number of micro-threads may use it
    at the same time, and those who read take turns. Closing it wakes those who wait on it with
    OSError(EBADF).
    """

    __slots__ = ()

    def fileno(self) -> int:
        """The descriptor, -1 when closed. os.read() and os.write() wait on it as this object does."""
        fd = super().fileno()
        if fd >= 0:
            _numbered[fd] = _ref(self)
        return fd

    # ---- addresses ----

    def _resolved(self, address: _Address) -> _Address:
        """The address with its host name looked up; anything else is left as it is."""
        family = super().family
        if family not in (_standard.AF_INET, _standard.AF_INET6):
            return address
        longest = 2 if family == _standard.AF_INET else 4
        if not isinstance(address, tuple) or not 2 <= len(address) <= longest:
            return address  # the standard library says what is wrong with it
        host = address[0]
        if not isinstance(host, (str, bytes, bytearray)) or _is_numeric(host):
            return address
        if ("\0" if isinstance(host, str) else 0) in host:
            return address
        if isinstance(host, bytearray):
            host = bytes(host)
        found = _run_blocking(_socket.getaddrinfo, host, None, family)
        return (found[0][4][0], *address[1:])

    def bind(self, address: _Address, /) -> None:
        """Bind to a local address. OSError if it cannot be."""
        super().bind(self._resolved(address))

    def connect_ex(self, address: _Address, /) -> int:
        """As connect(), but return the errno of a failure; EAGAIN when the time is up."""
        address = self._resolved(address)
        try:
            super().connect(address)  # that of a subclass may call this one
        except (_standard.gaierror, _standard.herror):
            raise  # their numbers are none of errno
        except OSError as error:
            if error.errno is not None:
                return error.errno
            if isinstance(error, TimeoutError):
                return _errno.EAGAIN
            raise
        return 0

    # ---- what is the standard library's, repeated until it need not wait ----

    def _connect_otherwise(self, address: _Address) -> None:
        try:
            _socket.socket.connect(self, address)
        except BlockingIOError as error:
            if error.errno != _errno.EINPROGRESS or self.gettimeout() == 0:
                raise
        else:
            return
        _core.wait_writable(self.fileno(), self.gettimeout())
        if number := self.getsockopt(_standard.SOL_SOCKET, _standard.SO_ERROR):
            raise OSError(number, _os.strerror(number))

    def _accept_otherwise(self) -> tuple["socket", _Any]:
        fd, address = self._repeat(_READ, 0, _socket.socket._accept)
        return socket(super().family, super().type, self.proto, fd), address

    def _accept(self) -> tuple[int, _Any]:
        accepted, address = self.accept()
        return accepted.detach(), address

    def _recvfrom_otherwise(self, bufsize: int, flags: int) -> tuple[bytes, _Any]:
        return self._repeat(_READ, flags, _socket.socket.recvfrom, bufsize, flags | _NOW)

    def _recvfrom_into_otherwise(
        self, buffer: _Any, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, _Any]:
        call = _socket.socket.recvfrom_into
        return self._repeat(_READ, flags, call, buffer, nbytes, flags | _NOW)

    def _sendto_otherwise(self, data: _Any, flags: int, address: _Address) -> int:
        return self._repeat(_WRITE, flags, _socket.socket.sendto, data, flags | _NOW, address)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list, int, _Any]:
        """Receive data and ancillary data; returns (data, ancdata, msg_flags, address)."""
        call = _socket.socket.recvmsg
        return self._repeat(_READ, flags, call, bufsize, ancbufsize, flags | _NOW)

    def recvmsg_into(
        self, buffers: _Any, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list, int, _Any]:
        """As recvmsg(), into writable buffers; returns (count, ancdata, msg_flags, address)."""
        call = _socket.socket.recvmsg_into
        return self._repeat(_READ, flags, call, list(buffers), ancbufsize, flags | _NOW)

    def sendmsg(
        self,
        buffers: _Any,
        ancdata: _Any = (),
        flags: int = 0,
        address: _Address | None = None,
        /,
    ) -> int:
        """Send buffers and ancillary data; returns how many bytes of data went."""
        args = (list(buffers), list(ancdata), flags | _NOW)
        if address is not None:
            args += (self._resolved(address),)
        return self._repeat(_WRITE, flags, _socket.socket.sendmsg, *args)

    # ---- files and the end ----

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> _Any:
        """As socket.makefile(): a file of this socket. Several micro-threads may use it."""
        global _makefile
        if _makefile is None:
            from microthread import _socket_files

            _makefile = _rebound(_standard_makefile, {**vars(_standard), "io": _socket_files})
        return _makefile(self, mode, buffering, encoding=encoding, errors=errors, newline=newline)

    def _sendfile_use_sendfile(self, file: _Any, offset: int = 0, count: int | None = None) -> int:
        self._check_sendfile_params(file, offset, count)
        if self.gettimeout() == 0:
            raise ValueError("non-blocking sockets are not supported")
        try:
            fileno = file.fileno()
            size = _os.fstat(fileno).st_size
        except (AttributeError, OSError) as error:  # io.UnsupportedOperation is an OSError
            raise _standard._GiveupOnSendfile(error)
        if not size:
            return 0
        total = 0
        try:
            while count is None or total < count:
                most = 1 << 30 if count is None else min(count - total, 1 << 30)
                try:
                    sent = self._sendfile(fileno, offset + total, most)
                except TimeoutError:
                    raise
                except OSError as error:
                    if total == 0:
                        raise _standard._GiveupOnSendfile(error)
                    raise error from None
                if sent == 0:
                    break
                total += sent
            return total
        finally:
            if total > 0 and hasattr(file, "seek"):
                file.seek(offset + total)

    def _close_lingering(self) -> None:
        """SO_LINGER is on and close() may block until all is sent: let a worker wait for it."""
        self.setblocking(False)  # detach() leaves it so
        _run_blocking(_os.close, super().detach())


_core._set_socket_class(socket)


def _blocking_socket(fd: int) -> socket | None:
    """The socket whose descriptor this is, if it is one that waits for ever."""
    found = _numbered[fd]() if fd in _numbered else None
    if found is None or _SocketType.fileno(found) != fd or found.gettimeout() is not None:
        return None
    return found


def _lend(fd: int) -> None:
    """A child gets this descriptor: if it is that of a blocking socket, let it block for the child.

    Our own calls do not wait below all the same, but for accept(): who listens stays as it is.
    """
    sock = _blocking_socket(fd)
    if sock is not None and not sock.getsockopt(_standard.SOL_SOCKET, _standard.SO_ACCEPTCONN):
        _os.set_blocking(fd, True)


# ---- names ----


def getaddrinfo(
    host: _Any, port: _Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[tuple]:
    """As socket.getaddrinfo(): numeric addresses at once, names in a worker."""
    is_number = port is None or isinstance(port, int) or str(port).isdecimal()
    args = (host, port, family, type, proto, flags)
    if is_number and _is_numeric(host):
        return _blocking.getaddrinfo(*args)
    return _run_blocking(_blocking.getaddrinfo, *args)


def gethostbyname(hostname: str, /) -> str:
    """As socket.gethostbyname(): the IPv4 address of a host, looked up in a worker."""
    if _is_numeric(hostname):
        return _blocking.gethostbyname(hostname)
    return _run_blocking(_blocking.gethostbyname, hostname)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    """As socket.gethostbyname_ex(), in a worker."""
    return _run_blocking(_blocking.gethostbyname_ex, hostname)


def gethostbyaddr(ip_address: str, /) -> tuple[str, list[str], list[str]]:
    """As socket.gethostbyaddr(), in a worker."""
    return _run_blocking(_blocking.gethostbyaddr, ip_address)


def getnameinfo(sockaddr: tuple, flags: int, /) -> tuple[str, str]:
    """As socket.getnameinfo(): numeric at once, names in a worker."""
    numeric = _standard.NI_NUMERICHOST | _standard.NI_NUMERICSERV
    if isinstance(flags, int) and flags & numeric == numeric:
        return _blocking.getnameinfo(sockaddr, flags)
    return _run_blocking(_blocking.getnameinfo, sockaddr, flags)
