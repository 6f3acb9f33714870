# SPDX-License-Identifier: MIT
"""microthread.socket: addresses, families, datagrams, and making connections."""
import errno
import os
import socket as standard
import struct

import pytest

from microthread import socket, spawn
from socket_support import LIMIT, both_ways, listener, parked  # noqa: F401  fixtures


def test_tcp_addresses(listener):
    client = spawn(socket.create_connection, listener.getsockname())
    accepted, address = listener.accept()
    with accepted, client.wait(LIMIT) as sock:
        assert address == sock.getsockname() == accepted.getpeername()
        assert type(accepted) is socket.socket and accepted.gettimeout() is None
        assert (accepted.family, accepted.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert accepted.proto == listener.proto and not accepted.get_inheritable()
        both_ways(sock, accepted)


def test_ipv6():
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no ::1 here: {error}")
    with server:
        client = spawn(socket.create_connection, server.getsockname()[:2])
        accepted, address = server.accept()
        with accepted, client.wait(LIMIT) as sock:
            assert address == sock.getsockname() and len(address) == 4
            both_ways(sock, accepted)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.bind(("::1", 0))
            one.sendto(b"to myself", one.getsockname())
            assert one.recvfrom(100) == (b"to myself", one.getsockname())


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_unix_stream(kind, tmp_path):
    name = str(tmp_path / "sock") if kind == "file" else f"\0microthread-{os.getpid()}".encode()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as sock:
        server.bind(name)
        server.listen()
        client = spawn(sock.connect, name)
        accepted, address = server.accept()
        client.wait(LIMIT)
        with accepted:
            assert address == "" and sock.getpeername() == name
            both_ways(sock, accepted)


def test_unix_datagram_addresses(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two:
        one.bind(str(tmp_path / "one"))
        two.bind(b"\0microthread-two-%d" % os.getpid())
        two.sendto(b"hi", str(tmp_path / "one"))
        assert one.recvfrom(10) == (b"hi", two.getsockname())
        one.sendto(b"ho", two.getsockname())
        assert two.recvfrom(10) == (b"ho", str(tmp_path / "one"))


def test_unix_path_too_long_is_refused():
    with socket.socket(socket.AF_UNIX) as sock:
        with pytest.raises(OSError, match="too long"):
            sock.connect("/" + "x" * 200)


def udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(LIMIT)
    return sock


def test_udp():
    with udp() as one, udp() as two:
        reader = parked(one.recvfrom, 100)
        assert two.sendto(b"ping", one.getsockname()) == 4
        assert reader.wait(LIMIT) == (b"ping", two.getsockname())
        one.sendto(b"pong", 0, two.getsockname())
        buffer = bytearray(10)
        assert two.recvfrom_into(buffer) == (4, one.getsockname()) and buffer[:4] == b"pong"
        two.connect(one.getsockname())
        two.send(b"connected")
        assert one.recv(5) == b"conne"  # the rest of a datagram is lost, not kept for later
        two.sendmsg([b"msg"])
        assert one.recvmsg(10)[0] == b"msg"
        one.sendto(b"", two.getsockname())
        assert two.recv(10) == b""


@pytest.mark.parametrize("size", [1, 20_000, 65_507])
def test_udp_datagram_comes_whole(size):
    data = os.urandom(size)
    with udp() as one, udp() as two:
        for most in (65_536, 65_536, 100_000):
            two.sendto(data, one.getsockname())
            assert one.recv(most) == data
            two.sendto(data, one.getsockname())
            assert one.recvfrom(most) == (data, two.getsockname())


def test_sendto_of_bad_addresses_fails_as_the_standard_one_does():
    with udp() as ours, standard.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        for address in ("127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 70_000), ("127.0.0.1", "80"),
                        ("127.0.0.1", 1, 2, 3, 4), (b"x", 1, 2), None, ("a\0b", 1), (5, 5)):
            with pytest.raises((OSError, TypeError, ValueError, OverflowError)) as mine:
                ours.sendto(b"x", address)
            with pytest.raises((OSError, TypeError, ValueError, OverflowError)) as other:
                theirs.sendto(b"x", address)
            assert type(mine.value) is type(other.value), address


def test_connect_by_name(listener):
    with socket.socket() as sock:
        client = spawn(sock.connect, ("localhost", listener.getsockname()[1]))
        listener.accept()[0].close()
        client.wait(LIMIT)


def test_refused_connection():
    with socket.socket() as deaf:  # it does not listen, and nobody else gets its port
        deaf.bind(("127.0.0.1", 0))
        address = deaf.getsockname()
        with socket.socket() as sock:
            with pytest.raises(ConnectionRefusedError):
                sock.connect(address)
        with socket.socket() as sock:
            assert sock.connect_ex(address) == errno.ECONNREFUSED
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=LIMIT)


def test_connect_ex(listener):
    with socket.socket() as sock:
        assert sock.connect_ex(listener.getsockname()) == 0
    with socket.socket() as sock:
        sock.settimeout(0)
        assert sock.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        with pytest.raises(TypeError):
            sock.connect_ex("localhost")
    with socket.socket(socket.AF_INET6) as sock, pytest.raises(socket.gaierror):
        sock.connect_ex(("127.0.0.1", 1))  # as the standard one: its number is none of errno


@pytest.mark.parametrize("host", [b"127.0.0.1", bytearray(b"127.0.0.1")])
def test_host_of_bytes(host, listener):
    with socket.socket() as sock:
        sock.connect((host, listener.getsockname()[1]))
        assert sock.getpeername() == listener.getsockname()


def test_create_server_and_connection_use_our_class(listener):
    assert type(listener) is socket.socket
    with socket.create_connection(listener.getsockname(), timeout=LIMIT,
                                  source_address=("127.0.0.1", 0)) as sock:
        assert type(sock) is socket.socket and sock.gettimeout() == LIMIT
    with socket.fromfd(listener.fileno(), listener.family, listener.type) as copy:
        assert type(copy) is socket.socket and copy.getsockname() == listener.getsockname()
    assert socket.has_dualstack_ipv6() == standard.has_dualstack_ipv6()


VSOCK_LOCAL = 1  # VMADDR_CID_LOCAL: this machine


def test_a_socket_of_an_odd_family():
    """The standard library does it; ours waits."""
    try:
        server = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except (OSError, AttributeError) as error:
        pytest.skip(f"no vsock here: {error}")
    with server, sock:
        try:
            server.bind((VSOCK_LOCAL, socket.VMADDR_PORT_ANY))
        except OSError as error:
            pytest.skip(f"no vsock to this machine: {error}")
        server.listen()
        sock.settimeout(LIMIT)
        server.settimeout(LIMIT)
        acceptor = parked(server.accept)
        try:
            sock.connect((VSOCK_LOCAL, server.getsockname()[1]))
        except OSError as error:
            acceptor.cancel()
            pytest.skip(f"no vsock to this machine: {error}")
        accepted, address = acceptor.wait(LIMIT)
        with accepted:
            assert type(accepted) is socket.socket and len(address) == 2
            both_ways(sock, accepted)


def test_netlink_answers():
    """recvfrom, sendto, recvfrom_into and sendmsg of a family that only the standard library knows."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        sock.bind((0, 0))
    except OSError as error:
        pytest.skip(f"no netlink here: {error}")
    with sock:
        request = struct.pack("=IHHIIBxxx", 20, 18, 0x301, 1, 0, 0)  # RTM_GETLINK, dump
        reader = parked(sock.recvfrom, 65536)
        assert sock.sendto(request, (0, 0)) == 20
        data, address = reader.wait(LIMIT)
        assert len(data) > 20 and address == (0, 0)
