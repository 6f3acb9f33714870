# SPDX-License-Identifier: MIT
"""What our worker class does differently from gunicorn's own code within a request."""

import email.utils
from types import SimpleNamespace

import pytest

pytest.importorskip("gunicorn", "21", reason="gunicorn 21 or later is not installed")

from gunicorn.http import wsgi  # noqa: E402

from microthread import gunicorn  # noqa: E402

DATE = "Sat, 28 Nov 2026 10:00:00 GMT"


class Socket:
    def __init__(self, fails=False):
        self.sent = []
        self.fails = fails

    def sendall(self, data):
        if self.fails:
            raise BrokenPipeError
        self.sent.append(data)


def response(response_class, sock, headers, *, version=(1, 1), method="GET", status="200 OK"):
    request = SimpleNamespace(version=version, method=method, should_close=lambda: False)
    result = response_class(request, sock, SimpleNamespace(protocol="http"))
    result.start_response(status, headers)
    return result


LENGTH_10 = [("Content-Length", "10")]


@pytest.mark.parametrize("headers, pieces, sends", [
    (LENGTH_10, [b"0123456789"], 1),
    (LENGTH_10, [b"01234", b"56789"], 2),
    (LENGTH_10, [b"", b"0123456789"], 2),
    ([], [b"01234", b"56789"], 3),
    ([], [b"x" * gunicorn._JOINED_SIZE], 2),
    ([], [b"x" * (gunicorn._JOINED_SIZE + 1)], 3),
    ([], [], 2),
    ([("Content-Length", "0")], [], 1),
], ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_same_bytes_are_sent_and_the_head_with_the_first_piece(monkeypatch, headers, pieces, sends, method):
    monkeypatch.setattr("gunicorn.util.http_date", lambda: DATE)
    ours, theirs = Socket(), Socket()
    for response_class, sock in ((gunicorn._Response, ours), (wsgi.Response, theirs)):
        one = response(response_class, sock, headers, method=method)
        for piece in pieces:
            one.write(piece)
        one.close()
        assert one.sock is sock
    assert b"".join(ours.sent) == b"".join(theirs.sent)
    assert ours.sent[0].startswith(b"HTTP/1.1 200 OK\r\n")
    if method == "GET":
        assert len(ours.sent) == sends


def test_what_is_no_bytes_is_refused_as_ever():
    for response_class in (gunicorn._Response, wsgi.Response):
        with pytest.raises(TypeError, match="is not a byte"):
            response(response_class, Socket(), []).write("text")


def test_failure_to_send_comes_out_and_the_socket_is_back():
    sock = Socket(fails=True)
    one = response(gunicorn._Response, sock, LENGTH_10)
    with pytest.raises(BrokenPipeError):
        one.write(b"0123456789")
    assert one.sock is sock


def test_date_is_made_once_a_second(monkeypatch):
    made = []

    def make(timestamp):
        made.append(timestamp)
        return email.utils.formatdate(timestamp, usegmt=True)

    clock = [1_795_860_000.25]
    monkeypatch.setattr(gunicorn, "time", lambda: clock[0])
    date = gunicorn._remember_date(make)
    assert date() == date() == email.utils.formatdate(clock[0], usegmt=True)
    clock[0] += 0.5
    date()
    assert len(made) == 1
    clock[0] += 0.5
    assert date() == email.utils.formatdate(clock[0], usegmt=True)
    assert len(made) == 2
    assert date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    clock[0] -= 3600  # it was set back
    assert date() == email.utils.formatdate(clock[0], usegmt=True)


def parser_after(**body):
    return SimpleNamespace(mesg=SimpleNamespace(body=SimpleNamespace(**body)))


@pytest.mark.parametrize("one, is_asked", [
    (parser_after(reader=SimpleNamespace(length=0)), False),
    (parser_after(reader=SimpleNamespace(length=0), failed=False), False),
    (parser_after(reader=SimpleNamespace(length=0), failed=True), True),
    (parser_after(reader=SimpleNamespace(length=5)), True),
    (parser_after(reader=SimpleNamespace()), True),  # chunks
    (SimpleNamespace(mesg=None), True),
])
def test_rest_of_a_body_is_asked_for_only_where_there_may_be_one(one, is_asked):
    asked = []

    def finish_body(self, deadline=None):
        asked.append(deadline)
        return "as it says"

    assert gunicorn._skip_empty_body(finish_body)(one, deadline=3) == ("as it says" if is_asked else True)
    assert asked == [3] * is_asked
