# SPDX-License-Identifier: MIT
"""microthread.ssl: handshakes, reading and writing, time-outs, both ways at once; and servers."""
import io
import pathlib
import socket as standard_socket
import ssl as standard
import threading
from concurrent.futures import CancelledError

import pytest

import microthread
from microthread import StreamServer, sleep, socket, spawn, ssl
from socket_support import LIMIT, listener, parked, soon, tcp  # noqa: F401

PEM = pathlib.Path(__file__).with_name("data") / "localhost.pem"


def server_context(kind=ssl.SSLContext):
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def client_context():
    return ssl.create_default_context(cafile=PEM)


def strict_context():
    """It tells a ragged end from a proper one."""
    context = client_context()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def connect(tcp, server=None, client=None, **options):  # noqa: F811
    """The two ends after their handshakes: client, server."""
    one, two = tcp
    accepting = spawn((server or server_context()).wrap_socket, two, server_side=True)
    mine = (client or client_context()).wrap_socket(one, server_hostname="localhost", **options)
    theirs = accepting.wait(LIMIT)
    for end in (mine, theirs):
        end.settimeout(LIMIT)
    return mine, theirs


@pytest.fixture
def tls(tcp):  # noqa: F811
    ends = connect(tcp)
    yield ends
    for end in ends:
        end.close()


def recv_all(sock, size):
    parts = []
    while size:
        parts.append(sock.recv(size))
        assert parts[-1], "it ended early"
        size -= len(parts[-1])
    return b"".join(parts)


# ---- the basics ----


def test_sockets_are_of_both_classes(tls):
    for end in tls:
        assert isinstance(end, standard.SSLSocket) and isinstance(end, socket.socket)
        assert type(end) is ssl.SSLSocket and isinstance(end.context, standard.SSLContext)
    with pytest.raises(TypeError):
        ssl.SSLSocket()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_data_both_ways(version, tcp):  # noqa: F811
    context = server_context()
    context.maximum_version = version
    mine, theirs = connect(tcp, context)
    assert mine.version() == theirs.version() == version.name.replace("_", ".")
    assert mine.getpeercert()["subject"] == ((("commonName", "localhost"),),)
    mine.sendall(b"there")
    assert theirs.recv(100) == b"there"
    assert theirs.send(b"and back") == 8 and mine.read(3) == b"and"
    buffer = bytearray(100)
    assert mine.recv_into(buffer) == 5 and buffer[:5] == b" back"
    assert theirs.write(memoryview(b"more")) == 4 and mine.read(100, buffer) == 4
    mine.sendall(b"")
    mine.close()
    assert theirs.recv(10) == b"" == theirs.recv(10) and theirs.recv_into(buffer) == 0
    theirs.close()


def test_reading_waits_and_others_run(tls):
    mine, theirs = tls
    reader = parked(theirs.recv, 100)
    mine.sendall(b"x")
    assert reader.wait(LIMIT) == b"x"
    reader = parked(theirs.recv, 100)
    sleep(0.01)
    mine.sendall(b"y")
    assert reader.wait(LIMIT) == b"y"


def test_records_that_are_read_in_pieces(tls):
    mine, theirs = tls
    mine.sendall(b"abcdefgh" * 5000)
    mine.sendall(b"tail")
    assert recv_all(theirs, 3) == b"abc" and theirs.pending() > 0
    assert recv_all(theirs, 40_001) == (b"abcdefgh" * 5000 + b"tail")[3:]


def test_asking_for_nothing_does_not_wait(tls):
    mine, theirs = tls
    theirs.sendall(b"abc")
    assert mine.recv(100) == b"abc"  # nothing more is there now
    assert mine.recv(0) == b"" and mine.recv_into(bytearray()) == 0
    with pytest.raises(ValueError):
        mine.recv(-1)


def test_small_buffer_leaves_the_rest_of_a_record(tls):
    mine, theirs = tls
    theirs.sendall(b"abcdefgh")
    buffer = bytearray(3)
    assert mine.recv_into(buffer, 100) == 3 and buffer == b"abc"
    assert mine.read(100, buffer) == 3 and buffer == b"def"
    assert mine.read(0, buffer) == 2 and buffer == b"ghf"


def test_much_data_both_ways_at_once(tls):
    data = bytes(range(256)) * 8000
    writers = [spawn(end.sendall, data) for end in tls]
    readers = [spawn(recv_all, end, len(data)) for end in tls]
    assert [reader.wait(60) == data for reader in readers] == [True, True]
    for writer in writers:
        writer.wait(LIMIT)


def test_many_writers_on_one_socket(tls):
    """Each message is one record, and arrives whole; the writes wait in between."""
    mine, theirs = tls
    messages = {bytes([65 + n]) * 16_000 for n in range(20)}
    writers = [spawn(mine.sendall, message) for message in messages]
    sleep(0.01)  # the sockets are full now
    got = recv_all(theirs, 320_000)
    assert {got[n:n + 16_000] for n in range(0, 320_000, 16_000)} == messages
    for writer in writers:
        writer.wait(LIMIT)


def test_makefile_and_sendfile(tls, tmp_path):
    mine, theirs = tls
    with mine.makefile("rwb") as ours, theirs.makefile("rwb") as file:
        asking = spawn(file.readline)
        ours.write(b"question\n")
        ours.flush()
        assert asking.wait(LIMIT) == b"question\n"
    (tmp_path / "file").write_bytes(b"z" * 100_000)
    with open(tmp_path / "file", "rb") as content:
        sending = spawn(mine.sendfile, content)
        assert recv_all(theirs, 100_000) == b"z" * 100_000 and sending.wait(LIMIT) == 100_000


def test_unwrap_leaves_plain_sockets(tls):
    mine, theirs = tls
    other = spawn(theirs.unwrap)
    plain, other = mine.unwrap(), other.wait(LIMIT)
    plain.sendall(b"plain")
    assert other.recv(10) == b"plain"
    with pytest.raises(ValueError):
        mine.read(1)
    with pytest.raises(ValueError):
        mine.unwrap()


# ---- contexts ----


def test_contexts_of_this_module():
    for context in (client_context(), ssl._create_unverified_context(), server_context(),
                    ssl._create_stdlib_context()):
        assert type(context) is ssl.SSLContext and context.sslsocket_class is ssl.SSLSocket
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.verify_flags |= ssl.VERIFY_X509_STRICT


def test_standard_context_told_to_make_sockets_of_ours(tcp):  # noqa: F811
    context = server_context(standard.SSLContext)
    context.sslsocket_class = ssl.SSLSocket
    mine, theirs = connect(tcp, context)
    assert type(theirs) is ssl.SSLSocket


def test_standard_names_may_be_ours(tcp, monkeypatch):  # noqa: F811
    """As after microthread.patch."""
    monkeypatch.setattr(standard, "SSLSocket", ssl.SSLSocket)
    monkeypatch.setattr(standard.SSLContext, "sslsocket_class", ssl.SSLSocket)
    context = standard.create_default_context(cafile=PEM)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    mine, theirs = connect(tcp, server_context(standard.SSLContext), context)
    mine.sendall(b"x")
    assert theirs.recv(1) == b"x"


def test_certificate_that_is_not_trusted(tcp):  # noqa: F811
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tcp, client=ssl.create_default_context())


def test_sni_callback_and_session_reuse(listener):  # noqa: F811
    context, names = server_context(), []
    context.sni_callback = lambda sock, name, ctx: names.append((type(sock), name))
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve():
        for _ in range(2):
            with context.wrap_socket(listener.accept()[0], server_side=True) as sock:
                sock.recv(1)

    serving, session = spawn(serve), None
    for is_reused in (False, True):
        plain = socket.create_connection(listener.getsockname(), timeout=LIMIT)
        with client.wrap_socket(plain, server_hostname="localhost", session=session) as sock:
            assert sock.session_reused is is_reused
            session = sock.session
    serving.wait(LIMIT)
    assert names == [(ssl.SSLSocket, "localhost")] * 2


def test_wrapped_before_it_is_connected(listener):  # noqa: F811
    with server_context().wrap_socket(listener, server_side=True) as accepting:
        server = spawn(lambda: accepting.accept()[0])
        client = client_context().wrap_socket(socket.socket(), server_hostname="localhost")
        client.settimeout(LIMIT)
        client.connect(accepting.getsockname())
        theirs = server.wait(LIMIT)
        assert type(theirs) is ssl.SSLSocket
        client.sendall(b"x")
        assert theirs.recv(1) == b"x"
        client.close()
        theirs.close()


def test_wrapping_a_standard_socket(listener):  # noqa: F811
    server = spawn(lambda: server_context().wrap_socket(listener.accept()[0], server_side=True))
    plain = standard_socket.create_connection(listener.getsockname())
    client = client_context().wrap_socket(plain, server_hostname="localhost")
    assert client.gettimeout() is None and plain.fileno() == -1
    client.sendall(b"x")
    assert server.wait(LIMIT).recv(1) == b"x"
    client.close()


def test_get_server_certificate():
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: None, ssl_context=server_context())
    server.start()
    pem = ssl.get_server_certificate(server.address, timeout=LIMIT)
    assert pem.split() == PEM.read_text().partition("-----END PRIVATE KEY-----")[2].split()
    server.stop()


# ---- the handshake ----


@pytest.mark.parametrize("first", ["send", "recv"])
def test_handshake_comes_with_the_first_call(first, tcp):  # noqa: F811
    one, two = tcp
    mine = client_context().wrap_socket(one, server_hostname="localhost", do_handshake_on_connect=False)
    theirs = server_context().wrap_socket(two, server_side=True, do_handshake_on_connect=False)
    reading = spawn(theirs.recv, 1)
    if first == "recv":
        both = spawn(mine.recv, 1)
    mine.sendall(b"x")
    assert reading.wait(LIMIT) == b"x"
    theirs.sendall(b"y")
    assert (both.wait(LIMIT) if first == "recv" else mine.recv(1)) == b"y"


def test_handshake_time_out_and_cancellation(tcp):  # noqa: F811
    one, two = tcp
    sock = client_context().wrap_socket(one, server_hostname="localhost", do_handshake_on_connect=False)
    sock.settimeout(0.01)
    for call in (sock.do_handshake, lambda: sock.recv(1), lambda: sock.send(b"x")):
        with pytest.raises(TimeoutError):
            call()
    sock.settimeout(None)
    thread = parked(sock.do_handshake)
    thread.cancel()
    with pytest.raises(CancelledError):
        thread.wait(LIMIT)
    sock.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        sock.do_handshake()


def test_handshake_on_connect_of_a_non_blocking_socket_is_refused(tcp):  # noqa: F811
    tcp[0].setblocking(False)
    with pytest.raises(ValueError):
        client_context().wrap_socket(tcp[0], server_hostname="localhost")
    assert tcp[0].fileno() == -1


# ---- limits ----


def test_time_out_of_a_read_and_a_write(tls):
    mine, theirs = tls
    mine.settimeout(0.01)
    with pytest.raises(TimeoutError):
        mine.recv(1)
    with pytest.raises(TimeoutError):
        while True:  # some systems' buffers are large
            mine.sendall(bytes(1_000_000))
    mine.settimeout(LIMIT)
    theirs.sendall(b"x")
    assert mine.recv(1) == b"x"


def test_non_blocking(tls):
    mine, theirs = tls
    mine.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        mine.recv(1)
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            mine.send(bytes(10_000))


def test_flags_are_refused(tls):
    for call in (lambda: tls[0].recv(1, 1), lambda: tls[0].send(b"", 1), lambda: tls[0].sendall(b"", 1)):
        with pytest.raises(ValueError, match="non-zero flags"):
            call()


def test_closed_under_a_reader(tls):
    reader = parked(tls[0].recv, 1)
    tls[0].close()
    with pytest.raises(OSError) as caught:
        reader.wait(LIMIT)
    assert caught.value.errno == 9
    with pytest.raises(ValueError):
        tls[0].read(1)


def test_cancelled_reader_loses_nothing(tls):
    mine, theirs = tls
    reader = parked(theirs.recv, 100)
    reader.cancel()
    with pytest.raises(CancelledError):
        reader.wait(LIMIT)
    mine.sendall(b"kept")
    assert theirs.recv(100) == b"kept"


def test_ragged_end(tcp):  # noqa: F811
    mine, theirs = connect(tcp, client=strict_context(), suppress_ragged_eofs=False)
    socket.socket(fileno=theirs.detach()).close()
    with pytest.raises(ssl.SSLError, match="(?i)eof"):
        mine.recv(1)


def test_with_a_standard_thread_at_the_other_end():
    listening = standard_socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = listening.accept()
        with server_context(standard.SSLContext).wrap_socket(sock, server_side=True) as tls:
            while data := tls.recv(65536):
                tls.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    with socket.create_connection(listening.getsockname(), timeout=LIMIT) as plain:
        with client_context().wrap_socket(plain, server_hostname="localhost") as sock:
            for size in (1, 1000, 100_000):
                sending = spawn(sock.sendall, b"e" * size)
                assert recv_all(sock, size) == b"e" * size
                sending.wait(LIMIT)
    thread.join()
    listening.close()


# ---- servers ----


@pytest.mark.parametrize("kind", [ssl.SSLContext, standard.SSLContext])
def test_server_of_tls_connections(kind):
    def echo(sock, address):
        assert type(sock) is ssl.SSLSocket and sock.gettimeout() is None
        while data := sock.recv(65536):
            sock.sendall(data)

    server = StreamServer(("127.0.0.1", 0), echo, ssl_context=server_context(kind))
    server.start()

    def ask(number):
        with socket.create_connection(server.address, timeout=LIMIT) as plain:
            with client_context().wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(b"%d" % number)
                return sock.recv(100)

    assert microthread.parallel_map(ask, range(20)) == [b"%d" % number for number in range(20)]
    server.stop(LIMIT)


def test_server_tells_of_the_end():
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: sock.sendall(b"bye"),
                          ssl_context=server_context())
    server.start()
    plain = socket.create_connection(server.address, timeout=LIMIT)
    with strict_context().wrap_socket(plain, server_hostname="localhost",
                                      suppress_ragged_eofs=False) as sock:
        assert sock.recv(10) == b"bye" and sock.recv(10) == b""  # or SSLError
    server.stop(LIMIT)


def test_failed_handshake_is_reported_and_the_server_goes_on(monkeypatch):
    told, called = [], []
    monkeypatch.setattr(microthread, "excepthook", lambda args: told.append(args.exc_value))
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: called.append(sock),
                          ssl_context=server_context())
    server.start()
    with socket.create_connection(server.address, timeout=LIMIT) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        soon(lambda: told)
        assert isinstance(told[0], ssl.SSLError)
    with monkeypatch.context() as patch:
        patch.setattr("microthread._server._HANDSHAKE", 0.05)
        with socket.create_connection(server.address, timeout=LIMIT) as sock:
            soon(lambda: len(told) == 2)  # who says nothing
            assert isinstance(told[1], TimeoutError) and sock.recv(10) == b""
    with socket.create_connection(server.address, timeout=LIMIT) as plain:
        client_context().wrap_socket(plain, server_hostname="localhost").close()
    soon(lambda: called)
    server.stop(LIMIT)
    assert len(told) == 2


def test_server_refuses_what_is_no_context():
    with pytest.raises(TypeError, match="ssl_context must be an ssl.SSLContext, got str"):
        StreamServer(("127.0.0.1", 0), print, ssl_context="x")


def test_text_is_not_written(tls):
    for call in (tls[0].write, tls[0].send, tls[0].sendall):
        with pytest.raises(TypeError):
            call("text")
    with pytest.raises((TypeError, io.UnsupportedOperation, BufferError)):
        tls[0].recv_into(b"read-only")


def test_connect_ex(listener):  # noqa: F811
    server = spawn(lambda: server_context().wrap_socket(listener.accept()[0], server_side=True))
    with client_context().wrap_socket(socket.socket(), server_hostname="localhost") as client:
        assert client.connect_ex(listener.getsockname()) == 0
        client.sendall(b"x")
        assert server.wait(LIMIT).recv(1) == b"x"
