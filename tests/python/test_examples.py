# SPDX-License-Identifier: MIT
"""Every program in examples/ runs, says what it should, and ends."""
import collections
import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server_support import mariadb_server, need_module, need_program, postgres_server
from support import child_environment, kill_session

EXAMPLES = Path(os.environ.get("MT_SRCDIR", Path(__file__).parents[2])) / "examples"
TIMEOUT = 60  # seconds


def run(name, *args, options=()):
    """The lines that it prints; it must end well, with nothing on stderr."""
    done = subprocess.run([sys.executable, *options, EXAMPLES / name, *args], text=True,
                          timeout=TIMEOUT, env=child_environment(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def at_once(folder, name, *args, options=()):
    """The figures in the first line of an example, and its other lines.

    The last two figures, which are left out, are the seconds that it took, and those that it would
    take one after the other. A busy host may add more than was saved: then the delays are made longer.
    """
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    for times in (1, 10, 50):
        longer, count = re.subn(r"^DELAY = ([\d.]+)", lambda found: f"DELAY = {float(found[1]) * times}",
                                source, flags=re.MULTILINE)
        assert count == 1
        (folder / name).write_text(longer, encoding="utf-8")
        first, *others = run(folder / name, *args, options=options)
        *figures, seconds, alone = re.findall(r"[\d.]+", first)
        if float(seconds) < float(alone):
            return figures, others
    raise AssertionError(first)


def test_every_example_is_tested():
    text = Path(__file__).read_text(encoding="utf-8")
    tested = set(re.findall(r'(?:run|start|served)\("(\w+\.py)"', text))
    tested |= set(re.findall(r'at_once\(tmp_path, "(\w+\.py)"', text))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def start(name, *args):
    """The process of a server, and its port, which it was given or prints."""
    server = subprocess.Popen([sys.executable, EXAMPLES / name, *args], text=True,
                              env=child_environment(), stdout=subprocess.PIPE,
                              start_new_session=True)
    port = int(args[0]) if args else 0
    if not port:
        port = int(server.stdout.readline().split()[-1])
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server, port
        except ConnectionRefusedError:
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.01)


def stop(server):
    kill_session(server.pid)
    server.wait()
    server.stdout.close()


@pytest.fixture
def port():
    """One that no other process gets: bound here, it is free for a server, which reuses addresses."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_echo_server():
    server, port = start("echo_server.py")
    try:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as sock:
                sock.sendall(b"hello")
                assert sock.recv(100) == b"hello"
    finally:
        stop(server)


def test_echo_load():
    lines = run("echo_load.py", "50", "2000")
    table = {line[:14].strip(): line[14:].split()[0] for line in lines}
    assert table["connections"] == "50", lines
    assert table["messages"] == "2,000" or float(table["seconds"]) >= 6, lines  # it sends no longer
    assert list(table)[2:] == ["seconds", "messages/s", "server CPU", "latency p50", "latency p99"]


def test_echo_load_fails_when_an_echo_is_wrong(tmp_path):
    (tmp_path / "echo_load.py").write_text((EXAMPLES / "echo_load.py").read_text(encoding="utf-8"),
                                           encoding="utf-8")
    server = (EXAMPLES / "echo_server.py").read_text(encoding="utf-8")
    wrong = server.replace("sock.sendall(data)", "sock.sendall(data.replace(b'7', b'8'))")
    assert wrong != server
    (tmp_path / "echo_server.py").write_text(wrong, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "echo_load.py", "10", "500"], text=True,
                          timeout=TIMEOUT, env=child_environment(), capture_output=True)
    assert done.returncode == 1 and "not what was sent" in done.stderr, done


def test_echo_pipe():
    assert run("echo_pipe.py") == ["came back: one", "came back: two", "came back: three"]


def test_chat_server():
    assert run("chat_server.py") == [
        "Ann hears: * Bob has joined", "Ann hears: * Cem has joined", "Bob hears: * Cem has joined",
        "Bob hears: Ann: hello", "Cem hears: Ann: hello",
        "Ann hears: * Bob has left", "Cem hears: * Bob has left"]


def test_chat_server_throws_out_whom_it_waits_for(port):
    """One who never reads does not keep the others from hearing."""
    server, port = start("chat_server.py", str(port))
    try:
        one, other, deaf = (socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
                            for _ in range(3))
        with one, other, deaf:
            one.sendall(b"Ann\n")
            other.sendall(b"Bob\n")
            (hearer,), _, _ = select.select([one, other], [], [], TIMEOUT)  # who was there first
            speaker, name = (other, "Bob") if hearer is one else (one, "Ann")
            heard = hearer.makefile("r")
            assert heard.readline() == f"* {name} has joined\n"
            deaf.sendall(b"Deaf\n")
            assert heard.readline() == "* Deaf has joined\n"
            notices = []
            for n in range(2000):  # what the kernel keeps for the deaf one, and 100 lines more
                speaker.sendall(f"{n} {'x' * 100_000}\n".encode())
                while not (text := heard.readline()).startswith(f"{name}: {n} "):
                    assert text  # not the end
                    notices.append(text)
                if notices:
                    break
            assert notices == ["* Deaf has left\n"]
    finally:
        stop(server)


def test_pipeline():
    text = (EXAMPLES / "pipeline.py").read_text(encoding="utf-8").splitlines()
    expected = sorted((line for line in text if "def " in line), key=str.strip)
    assert run("pipeline.py") == [f"{n:4}  {line}" for n, line in enumerate(expected, 1)]


def test_pipeline_over_another_file(tmp_path):
    (tmp_path / "words").write_text("pear\nplum\nfig\napple\n", encoding="utf-8")
    assert run("pipeline.py", "p", tmp_path / "words") == ["   1  apple", "   2  pear", "   3  plum"]


@pytest.mark.parametrize("limit, found", [("3000", 430), ("3", 1), ("0", 0)])
def test_primes_parallel(limit, found):
    assert run("primes_parallel.py", limit, "2") == [f"{found} primes below {limit}"]


def test_primes_parallel_shows_its_progress_on_a_terminal():
    master, terminal = os.openpty()
    try:
        done = subprocess.run([sys.executable, EXAMPLES / "primes_parallel.py", "3000", "2"], text=True,
                              timeout=TIMEOUT, env=child_environment(), stdout=subprocess.PIPE,
                              stderr=terminal)
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: all was read, and nobody has the terminal
            while data := os.read(master, 100_000):
                shown += data
        shown = shown.decode().split("\r")
    finally:
        os.close(master)
    assert done.returncode == 0 and done.stdout == "430 primes below 3000\n", done
    assert len(shown) > 10 and f"[{'#' * 4:.<40}]  10 %" in shown and f"[{'#' * 40}] 100 %" in shown, shown


def test_channel_pipeline():
    assert run("channel_pipeline.py", "30", "2")[26:28] == ["27 takes 111 steps", "28 takes 18 steps"]


def test_echo_cores():
    server, port = start("echo_cores.py", "0", "2", str(TIMEOUT))
    try:
        some = [socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) for _ in range(20)]
        for number, sock in enumerate(some):
            sock.sendall(b"%d" % number)
            assert sock.recv(100) == b"%d" % number
        server.terminate()
        for sock in some:  # who is connected is still served
            sock.sendall(b"last")
            assert sock.recv(100) == b"last"
            sock.close()
        assert server.wait(TIMEOUT) == 0
        assert "all connections are closed" in server.stdout.read()
    finally:
        stop(server)


def test_shared_image():
    def steps(row, column):
        point, value, count = complex(3 * column / 20 - 2.2, 2.4 * row / 10 - 1.2), 0j, 0
        while count < 100 and abs(value) < 2:
            value, count = value * value + point, count + 1
        return count

    picture = [[steps(row, column) for column in range(20)] for row in range(10)]
    *lines, last = run("shared_image.py", "20", "10", "2")
    assert lines == ["".join(" .:-=+*#%@"[n * 9 // 100] for n in row).rstrip() for row in picture]
    assert last == f"{sum(row.count(100) for row in picture)} of 200 points are inside"


def test_object_space():
    *lines, last = run("object_space.py")
    assert [line for line in lines if line.startswith("Ann ")] == [
        "Ann gets apples: 3, and 2 left", "Ann gets pears: 1, and 1 left"]
    assert [line for line in lines if not line.startswith("Ann ")] == [
        "Bob gets no apples: only 2 left", "Bob gets pears: 1, and 0 left"]
    assert last == ("left over: {'apples': 2, 'pears': 0}; here: {'apples': 5, 'pears': 2}, "
                    "for the store has a copy")


def test_word_count(tmp_path):
    text = "".join(f"word{n % 13} {'x' * (n % 50)} The\nthe é\n" for n in range(3000))
    (tmp_path / "text").write_text(text, encoding="utf-8")
    counts = collections.Counter(re.findall(rb"\w+", text.encode().lower()))
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    for count in ("1", "2", "3"):
        lines = [line.split() for line in run("word_count.py", tmp_path / "text", count)]
        assert lines == [[str(number), word.decode()] for word, number in expected]


@pytest.mark.parametrize("count", [1, 10, 100])
def test_sieve(count):
    primes = [n for n in range(2, 600) if all(n % d for d in range(2, n))][:count]
    assert run("sieve.py", str(count)) == [" ".join(map(str, primes))]


def test_crawler(tmp_path):
    (pages, links, fetchers), others = at_once(tmp_path, "crawler.py")
    assert (pages, fetchers) == ("60", "20") and not others


def test_downloads(tmp_path):
    figures, others = at_once(tmp_path, "downloads.py", "20")
    assert figures == ["40", "67000", "20"]
    assert others == ["not on the mirror: missing; 0 files are half there"]


def test_tree_walk(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("z.txt", "a/y.txt", "a/b/x.txt", "a/b/x.c"):
        (tmp_path / name).touch()
    lines = run("tree_walk.py", tmp_path, ".txt")
    assert lines == [str(tmp_path / name) for name in ("a/b/x.txt", "a/y.txt", "z.txt")]


def test_legacy_http_plain():
    """Patched it is in test_patch_programs.py."""
    assert run("legacy_http.py", "5") == ["5 answers"]


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_crawl_requests(options, tmp_path):
    need_module("requests", "python3-requests")
    assert at_once(tmp_path, "crawl_requests.py", "15", options=options) == (["60", "15"], [])


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_redis_workers(options, tmp_path):
    need_module("redis", "python3-redis")
    need_program("redis-server", "redis-server")
    assert at_once(tmp_path, "redis_workers.py", options=options) == (["100", "20"], [])


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_mysql_transfers(options, tmp_path):
    need_module("pymysql", "python3-pymysql")
    with mariadb_server() as at:
        done = at_once(tmp_path, "mysql_transfers.py", "127.0.0.1", str(at.port), options=options)
    assert done == (["100", "20"], [])


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_postgres_jobs(options, tmp_path):
    need_module("psycopg2", "python3-psycopg2")
    with postgres_server() as at:
        done = at_once(tmp_path, "postgres_jobs.py", f"host=127.0.0.1 port={at.port} user=postgres",
                       options=options)
    assert done == (["100", "20"], [])


def test_sqlite_worker(tmp_path):
    assert run("sqlite_worker.py") == ["1000 notes by 50 writers"]
    assert run("sqlite_worker.py", tmp_path / "notes") == ["1000 notes by 50 writers"]


def served(name, port):
    """A process of gunicorn that serves an example at this port."""
    command = [sys.executable, "-m", "gunicorn", "--chdir", EXAMPLES, "-k", "microthread.gunicorn.Worker",
               "-b", f"127.0.0.1:{port}", "--log-level", "error", f"{name.removesuffix('.py')}:app"]
    return subprocess.Popen(command, env=child_environment(), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)


@pytest.mark.parametrize("has_flask", [False, True])
def test_wsgi_app_under_gunicorn(has_flask, tmp_path, monkeypatch, port):
    # 20.1 and earlier cannot run on CPython 3.12 and later.
    pytest.importorskip("gunicorn", "21", reason="gunicorn 21 or later is not installed")
    if has_flask:
        need_module("flask", "python3-flask")
    else:
        (tmp_path / "flask.py").write_text("raise ImportError")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    server = served("wsgi_app.py", port)
    end = time.monotonic() + TIMEOUT

    def fetch(number):
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=TIMEOUT) as answer:
                    return answer.read().decode()
            except urllib.error.URLError as error:
                if (not isinstance(error.reason, ConnectionRefusedError) or server.poll() is not None
                        or time.monotonic() > end):
                    raise
                time.sleep(0.02)

    def seconds_of_a_hundred():
        began = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            assert list(pool.map(fetch, range(100))) == [f"hello, {n}\n" for n in range(100)]
        return time.monotonic() - began

    try:
        assert fetch("first") == "hello, first\n"  # it is up
        # One after the other they never take less; a busy host may add as much, but not always.
        assert any(seconds_of_a_hundred() < 100 * 0.1 for _ in range(3))
        server.terminate()
        assert (server.wait(TIMEOUT), server.stdout.read()) == (0, "")
    finally:
        stop(server)
