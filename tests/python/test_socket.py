# SPDX-License-Identifier: MIT
"""microthread.socket: what its calls do, and that they are the standard ones otherwise."""
import errno
import gc
import io
import os
import socket as standard
import struct
import sys
import weakref

import pytest

from microthread import socket, spawn, yield_now
from socket_support import LIMIT, both_ways, connected, listener, parked  # noqa: F401  fixtures

pair = connected


# ---- the class and the names ----


def test_socket_is_a_standard_socket(pair):
    assert issubclass(socket.socket, standard.socket)
    assert isinstance(pair[0], standard.socket) and type(pair[0]) is socket.socket
    assert pair[0].family is standard.AF_UNIX and pair[0].type is standard.SOCK_STREAM
    assert repr(pair[0]).startswith("<microthread.socket.socket fd=")


def test_every_name_of_the_standard_module_is_here():
    assert [name for name in vars(standard) if not hasattr(socket, name)] == []


@pytest.mark.parametrize("name", ["_GLOBAL_DEFAULT_TIMEOUT", "error", "timeout", "SocketType",
                                  "herror", "gaierror", "AddressFamily", "SocketIO"])
def test_name_is_the_standard_one(name):
    assert getattr(socket, name) is getattr(standard, name)


def test_all_is_the_standard_one():
    assert set(standard.__all__) <= set(socket.__all__)


def test_has_no_dict_as_the_standard_one(pair):
    assert not hasattr(pair[0], "__dict__")
    with pytest.raises(AttributeError):
        pair[0].colour = "red"


def test_weak_reference_dies_with_it():
    sock = socket.socket()
    reference = weakref.ref(sock)
    assert reference() is sock
    sock.close()
    del sock
    assert reference() is None


def test_subclass_keeps_attributes_slots_and_cycles():
    class Plain(socket.socket):
        pass

    class Slotted(socket.socket):
        __slots__ = ("note", "other")

    for make in (Plain, Slotted):
        with make(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            assert sock.gettimeout() is None and sock.fileno() >= 0
            sock.note, sock.other = [1], "x"
            assert (sock.note, sock.other) == ([1], "x")
    sock.note.append(sock)
    reference = weakref.ref(sock)
    del sock
    gc.collect()
    assert reference() is None


def test_subclass_with_another_base():
    class Mixin:
        def shout(self, data):
            self.sendall(data.upper())

    class Both(Mixin, socket.socket):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.calls = 0

    a, b = standard.socketpair()
    with Both(fileno=a.detach()) as left, Both(fileno=b.detach()) as right:
        left.shout(b"hey")
        assert right.recv(10) == b"HEY" and left.calls == 0


def test_unmade_socket_is_a_closed_one():
    sock = socket.socket.__new__(socket.socket)
    assert sock.fileno() == -1
    with pytest.raises(OSError) as caught:
        sock.recv(1)
    assert caught.value.errno == errno.EBADF


def test_dropped_open_socket_warns_and_closes():
    sock = socket.socket()
    fd = sock.fileno()
    with pytest.warns(ResourceWarning, match="unclosed <microthread.socket.socket"):
        del sock
        gc.collect()
    with pytest.raises(OSError):
        os.fstat(fd)


@pytest.mark.parametrize("args", [(-5,), (socket.AF_INET, 99), ("inet",), (1, 2, 3, 4, 5)])
def test_bad_arguments_fail_as_the_standard_ones_do(args):
    with pytest.raises((OSError, TypeError)) as ours:
        socket.socket(*args)
    with pytest.raises((OSError, TypeError)) as theirs:
        standard.socket(*args)
    assert type(ours.value) is type(theirs.value)
    assert getattr(ours.value, "errno", None) == getattr(theirs.value, "errno", None)


@pytest.mark.parametrize("fileno", [-1, 987654, 1.5, "x"])
def test_bad_fileno_fails_as_the_standard_one_does(fileno):
    with pytest.raises((OSError, TypeError, ValueError)) as ours:
        socket.socket(fileno=fileno)
    with pytest.raises((OSError, TypeError, ValueError)) as theirs:
        standard.socket(fileno=fileno)
    assert type(ours.value) is type(theirs.value)


def test_pickling_is_refused(pair):
    with pytest.raises(TypeError, match="pickle"):
        pair[0].__reduce_ex__(4)


# ---- receiving and sending ----


def test_there_and_back(pair):
    both_ways(*pair)


@pytest.mark.parametrize("size", [1, 2, 511, 512, 513, 4096, 65535, 65536, 65537, 1 << 20])
def test_recv_takes_up_to_that_many(pair, size):
    pair[0].sendall(b"abc")
    assert pair[1].recv(size) == b"abc"[:size]


def test_recv_of_nothing_is_empty(pair):
    assert pair[0].recv(0) == b""


def test_recv_of_negative_size_is_refused(pair):
    for call in (pair[0].recv, pair[0].recvfrom):
        with pytest.raises(ValueError, match="negative buffersize"):
            call(-1)


@pytest.mark.parametrize("args", [(), ("x",), (1.5,), (1, "x"), (1, 2, 3), (1 << 80,)])
def test_recv_of_bad_arguments_is_refused(pair, args):
    with pytest.raises((TypeError, OverflowError)):
        pair[0].recv(*args)


def test_recv_of_much_keeps_every_byte(pair):
    """It changes between the shared block and bytes of its own."""
    sizes = [10, 70_000, 70_000, 300_000, 1, 200_000, 64, 65_536, 3]
    data = [os.urandom(size) for size in sizes]
    sender = spawn(lambda: [pair[0].sendall(piece) for piece in data])
    got = b""
    while len(got) < sum(sizes):
        piece = pair[1].recv(262_144)
        assert 0 < len(piece) <= 262_144
        got += piece
    sender.wait(LIMIT)
    assert got == b"".join(data)


def test_received_bytes_are_the_readers_own(pair):
    """Others receive into the same block while the first one's bytes live on."""
    pieces = [bytes([n]) * 40 for n in range(50)]
    kept = []
    for piece in pieces:
        pair[0].sendall(piece)
        kept.append(pair[1].recv(65536))
    assert kept == pieces


def test_recv_with_flags(pair):
    pair[0].sendall(b"look")
    assert pair[1].recv(100, socket.MSG_PEEK) == b"look"
    assert pair[1].recv(100) == b"look"
    with pytest.raises(BlockingIOError):
        pair[1].recv(100, socket.MSG_DONTWAIT)
    pair[1].settimeout(None)
    reader = parked(pair[1].recv, 6, socket.MSG_WAITALL)
    for part in (b"abc", b"d", b"ef"):
        pair[0].sendall(part)
        yield_now()
    assert reader.wait(LIMIT) == b"abcdef"


def test_end_of_the_other_side_is_empty(pair):
    pair[0].sendall(b"last")
    pair[0].shutdown(socket.SHUT_WR)
    assert [pair[1].recv(100) for _ in range(3)] == [b"last", b"", b""]
    pair[1].sendall(b"still open")  # half a close
    assert pair[0].recv(100) == b"still open"


def test_recv_into(pair):
    pair[0].sendall(b"abcdef")
    buffer = bytearray(4)
    assert pair[1].recv_into(buffer) == 4 and buffer == b"abcd"
    assert pair[1].recv_into(memoryview(buffer)[1:], 1) == 1 and buffer == b"aecd"
    assert pair[1].recv_into(buffer, nbytes=2, flags=socket.MSG_DONTWAIT) == 1
    assert buffer == b"fecd"
    assert pair[1].recv_into(bytearray()) == 0
    with pytest.raises(ValueError, match="buffer too small"):
        pair[1].recv_into(buffer, 5)
    with pytest.raises(ValueError, match="negative"):
        pair[1].recv_into(buffer, -1)
    for bad in (b"read-only", "text", None):
        with pytest.raises((TypeError, BufferError)):
            pair[1].recv_into(bad)


def test_buffer_is_free_again_after_recv_into(pair):
    buffer = bytearray(4)
    reader = parked(pair[1].recv_into, buffer)
    with pytest.raises(BufferError):
        buffer.extend(b"x")  # in use
    pair[0].sendall(b"x")
    reader.wait(LIMIT)
    buffer.extend(b"x")


@pytest.mark.parametrize("data", [b"bytes", bytearray(b"bytearray"), memoryview(b"a view")])
def test_send_takes_any_bytes(pair, data):
    assert pair[0].send(data) == len(data)
    pair[0].sendall(data, 0)
    assert pair[1].recv(100) == bytes(data) * 2


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(b"abcd")[::2]])
def test_send_of_anything_else_is_refused(pair, data):
    for call in (pair[0].send, pair[0].sendall):
        with pytest.raises((TypeError, BufferError)):
            call(data)


def test_sendall_of_nothing(pair):
    pair[0].sendall(b"")
    assert pair[0].send(b"") == 0
    with socket.socket() as unconnected, pytest.raises(BrokenPipeError):
        unconnected.sendall(b"")


def test_sendall_of_nothing_is_an_empty_datagram():
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, two:
        one.sendall(b"")
        two.settimeout(LIMIT)
        assert two.recv(10) == b""


@pytest.mark.parametrize("buffer", [b"abc", 5, memoryview(bytearray(4))[::2]])
def test_receiving_into_what_is_no_writable_buffer_is_a_type_error(pair, buffer):
    pair[1].sendall(b"x")
    for call in (pair[0].recv_into, pair[0].recvfrom_into):
        with pytest.raises(TypeError, match=rf"{call.__name__}\(\) argument must be a read-write bytes"):
            call(buffer)
    assert pair[0].recv(10) == b"x"


def test_big_sendall_to_a_slow_reader(pair):
    data = os.urandom(3_000_000)
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # some systems' own is larger than data
    sender = parked(pair[0].sendall, data)
    got = b""
    while len(got) < len(data):
        got += pair[1].recv(10_000)
        yield_now()
    assert sender.wait(LIMIT) is None and got == data


def test_send_to_a_closed_side_is_a_broken_pipe(pair):
    pair[1].close()
    for call in (pair[0].send, pair[0].sendall):
        with pytest.raises(BrokenPipeError):
            call(b"x")


def test_sendmsg_and_recvmsg(pair):
    assert pair[0].sendmsg([b"ab", bytearray(b"cd")]) == 4
    assert pair[1].recvmsg(100)[:3:2] == (b"abcd", 0)
    one, two = bytearray(2), bytearray(9)
    reader = parked(pair[1].recvmsg_into, [one, two])
    pair[0].sendmsg([b"efg"])
    assert reader.wait(LIMIT)[0] == 3 and (one, two[:1]) == (b"ef", b"g")
    with pytest.raises(BlockingIOError):
        pair[1].recvmsg(1, 0, socket.MSG_DONTWAIT)


def test_descriptors_go_through_a_unix_socket(pair):
    read_end, write_end = os.pipe()
    receiver = parked(socket.recv_fds, pair[1], 10, 1)
    socket.send_fds(pair[0], [b"take"], [write_end])
    data, (fd,), _, _ = receiver.wait(LIMIT)
    os.write(fd, b"through")
    assert data == b"take" and os.read(read_end, 100) == b"through"
    for number in (read_end, write_end, fd):
        os.close(number)


def test_sendmsg_waits_for_room(pair):
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def send():
        for _ in range(100):
            pair[0].sendmsg([b"x" * 2000])
        pair[0].close()

    sender = parked(send)
    total = 0
    while data := pair[1].recv(5000):
        total += len(data)
    sender.wait(LIMIT)
    assert total == 200_000


# ---- files ----


def test_makefile_round_trip(pair):
    with pair[0].makefile("rw", encoding="utf-8", newline="\n") as one, \
            pair[1].makefile("rwb") as two:
        reader = parked(two.readline)
        one.write("grüße\n")
        one.flush()
        assert reader.wait(LIMIT) == "grüße\n".encode()
        two.write(b"1\n2\n3")
        two.flush()
        pair[1].shutdown(socket.SHUT_WR)
        assert one.readlines() == ["1\n", "2\n", "3"]


def test_makefile_keeps_the_descriptor_open(pair):
    file = pair[0].makefile("rb", buffering=0)
    pair[0].close()
    pair[1].sendall(b"still here")
    assert file.read(100) == b"still here" and pair[0].fileno() >= 0
    file.close()
    assert pair[0].fileno() == -1


def test_makefile_reads_no_more_after_a_time_out(pair):
    pair[0].settimeout(0.01)
    with pair[0].makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.read(1)
        with pytest.raises(OSError, match="timed out object"):
            file.read(1)


def test_makefile_gives_each_line_to_one_of_its_readers(pair):
    for mode in ("rb", "r", "rwb"):
        with pair[0].makefile(mode) as file:
            readers = [parked(file.readline), parked(next, file), parked(file.readline)]
            pair[1].sendall(b"1\n2\n3\n")
            assert [int(reader.wait(LIMIT)) for reader in readers] == [1, 2, 3], mode


def test_makefile_keeps_each_write_whole(pair):
    for mode in ("wb", "rwb"):
        with pair[0].makefile(mode, buffering=100) as file:
            writers = [spawn(file.write, bytes([letter]) * 300_000) for letter in b"abc"]
            flush = spawn(file.flush)
            got = b""
            while len(got) < 900_000:
                got += pair[1].recv(65536)
            assert got == b"a" * 300_000 + b"b" * 300_000 + b"c" * 300_000, mode
            for writer in (*writers, flush):
                writer.wait(LIMIT)


def test_makefile_that_somebody_reads_is_written(pair):
    for mode, message in (("rwb", b"hello"), ("rw", "hello")):
        with pair[0].makefile(mode) as file:
            reader = parked(file.readline)
            file.write(message)
            file.flush()
            assert pair[1].recv(10) == b"hello"
            pair[1].sendall(b"answer\n")
            assert len(reader.wait(LIMIT)) == 7


@pytest.mark.parametrize("mode", ["rb", "r", "rwb"])
def test_makefile_is_closed_after_its_reader(pair, mode):
    file = pair[0].makefile(mode)
    reader = parked(file.read, 3)
    closing = parked(file.close)
    pair[1].sendall(b"abc")
    assert len(reader.wait(LIMIT)) == 3
    closing.wait(LIMIT)
    assert file.closed and not pair[0]._closed


def test_makefile_makes_the_standard_classes(pair):
    classes = {"r": io.TextIOWrapper, "w": io.TextIOWrapper, "rw": io.TextIOWrapper,
               "rb": io.BufferedReader, "wb": io.BufferedWriter, "rwb": io.BufferedRWPair}
    for mode, kind in classes.items():
        with pair[0].makefile(mode) as file:
            assert isinstance(file, kind) and type(file).__name__ == kind.__name__
    with pytest.raises(ValueError, match="invalid mode"):
        pair[0].makefile("q")
    file = pair[0].makefile("w")
    file.write("dropped")
    del file
    gc.collect()
    assert pair[1].recv(10) == b"dropped"


def test_makefile_of_a_non_blocking_socket_gives_none(pair):
    pair[0].setblocking(False)
    with pair[0].makefile("rb", buffering=0) as file:
        assert file.read(1) is None


@pytest.mark.parametrize("offset, count", [(0, None), (1000, None), (0, 12_345), (7, 2_000_000)])
def test_sendfile(pair, tmp_path, offset, count):
    data = os.urandom(1_500_000)
    (tmp_path / "file").write_bytes(data)
    expected = data[offset:] if count is None else data[offset:offset + count]
    with open(tmp_path / "file", "rb") as file:
        sender = spawn(pair[0].sendfile, file, offset, count)
        got = b""
        while len(got) < len(expected):
            got += pair[1].recv(50_000)
        assert sender.wait(LIMIT) == len(expected) and got == expected
        assert file.tell() == offset + len(expected)


def test_sendfile_of_what_is_no_file(pair):
    class Text(io.StringIO):
        mode = "r"

    assert pair[0].sendfile(io.BytesIO(b"in memory")) == 9
    assert pair[1].recv(100) == b"in memory"
    with pytest.raises(ValueError, match="binary"):
        pair[0].sendfile(Text())
    with pytest.raises(ValueError, match="positive"):
        pair[0].sendfile(io.BytesIO(b"x"), count=0)
    pair[0].setblocking(False)
    with open(__file__, "rb") as file, pytest.raises(ValueError, match="non-blocking"):
        pair[0].sendfile(file)


# ---- descriptors and options ----


def test_dup_shares_the_connection(pair):
    pair[0].settimeout(7)
    with pair[0].dup() as copy:
        assert type(copy) is socket.socket and copy.gettimeout() == 7
        pair[0].close()
        both_ways(copy, pair[1])


def test_detach_gives_the_descriptor_away(pair):
    pair[0].settimeout(None)
    fd = pair[0].detach()
    assert pair[0].fileno() == -1 and os.get_blocking(fd)
    with pytest.raises(OSError):
        pair[0].send(b"x")
    with standard.socket(fileno=fd) as sock:
        sock.sendall(b"by the standard one")
    assert pair[1].recv(100) == b"by the standard one"
    assert pair[0].detach() == -1


def test_descriptor_of_a_standard_socket_becomes_ours():
    a, b = standard.socketpair()
    with socket.socket(fileno=a.detach()) as ours, b:
        assert (ours.family, ours.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        assert ours.gettimeout() is None and not os.get_blocking(ours.fileno())
        reader = parked(ours.recv, 10)
        b.sendall(b"hello")
        assert reader.wait(LIMIT) == b"hello"


def test_options(listener, pair):
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    linger = struct.pack("ii", 1, 5)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == linger
    for bad in ((), (1,), (1, 2), ("x", 1, 1), (1, 2, "x"), (1, 2, 1 << 40)):
        with pytest.raises((TypeError, OverflowError, OSError)) as ours:
            listener.setsockopt(*bad)
        with standard.socket() as sock, pytest.raises(type(ours.value)):
            sock.setsockopt(*bad)
    with pytest.raises(OSError) as caught:
        listener.setsockopt(socket.SOL_SOCKET, 9999, 1)
    assert caught.value.errno == errno.ENOPROTOOPT


def test_every_version_has_the_same_methods():
    ours = {name for name in dir(socket.socket) if not name.startswith("_")}
    assert ours >= {name for name in dir(standard.socket) if not name.startswith("_")}
    assert sys.getsizeof(socket.socket.__new__(socket.socket)) < 300
