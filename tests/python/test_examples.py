# SPDX-License-Identifier: MIT
"""Every program in examples/ runs, says what it should, and ends."""
import collections
import os
import re
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


def test_every_example_is_tested():
    text = Path(__file__).read_text(encoding="utf-8")
    tested = set(re.findall(r'(?:run|start|served)\("(\w+\.py)"', text))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def start(name, *args):
    """The process of a server, and its port, which it prints or was given."""
    server = subprocess.Popen([sys.executable, EXAMPLES / name, *args], text=True,
                              env=child_environment(), stdout=subprocess.PIPE,
                              start_new_session=True)
    port = int(args[0] if args else server.stdout.readline().split()[-1])
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    return server, port


def stop(server):
    kill_session(server.pid)
    server.wait()
    server.stdout.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


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
    assert table["connections"] == "50" and table["messages"] == "2,000", lines
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


def test_chat_server_throws_out_whom_it_waits_for():
    """One who never reads does not keep the others from hearing."""
    server, port = start("chat_server.py", str(free_port()))
    try:
        ann, bob, deaf = (socket.create_connection(("127.0.0.1", port), timeout=10)
                          for _ in range(3))
        with ann, bob, deaf, bob.makefile("r") as heard:
            bob.sendall(b"Bob\n")
            time.sleep(0.2)  # nobody says when the first one is there
            for name, sock in (("Ann", ann), ("Deaf", deaf)):
                sock.sendall(f"{name}\n".encode())
                assert heard.readline() == f"* {name} has joined\n"
            notices = []
            for n in range(200):
                ann.sendall(f"{n} {'x' * 100_000}\n".encode())
                while not (text := heard.readline()).startswith(f"Ann: {n} "):
                    notices.append(text)
            assert "* Deaf has left\n" in notices
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
        shown = os.read(master, 100_000).decode().split("\r")
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 0 and done.stdout == "430 primes below 3000\n", done
    assert len(shown) > 10 and f"[{'#' * 4:.<40}]  10 %" in shown and f"[{'#' * 40}] 100 %" in shown, shown


def test_channel_pipeline():
    assert run("channel_pipeline.py", "30", "2")[26:28] == ["27 takes 111 steps", "28 takes 18 steps"]


def test_echo_cores():
    server, port = start("echo_cores.py", str(free_port()), "2")
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
    assert run("object_space.py") == [
        "Ann gets apples: 3, and 2 left", "Bob gets no apples: only 2 left",
        "Ann gets pears: 1, and 1 left", "Bob gets pears: 1, and 0 left",
        "left over: {'apples': 2, 'pears': 0}; here: {'apples': 5, 'pears': 2}, for the store has a copy"]


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


def test_crawler():
    (line,) = run("crawler.py")
    pages, links, fetchers, seconds, alone = re.findall(r"[\d.]+", line)
    assert (pages, fetchers) == ("60", "20") and float(seconds) < float(alone), line


def test_downloads():
    alone, missing = run("downloads.py", "20")
    files, size, limit, seconds, alone = re.findall(r"[\d.]+", alone)
    assert (files, size, limit) == ("40", "67000", "20") and float(seconds) < float(alone)
    assert missing == "not on the mirror: missing; 0 files are half there"


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
def test_crawl_requests(options):
    need_module("requests", "python3-requests")
    (line,) = run("crawl_requests.py", "15", options=options)
    pages, threads, seconds, alone = re.findall(r"[\d.]+", line)
    assert (pages, threads) == ("60", "15") and float(seconds) < float(alone), line


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_redis_workers(options):
    need_module("redis", "python3-redis")
    need_program("redis-server", "redis-server")
    (line,) = run("redis_workers.py", options=options)
    jobs, workers, seconds, alone = re.findall(r"[\d.]+", line)
    assert (jobs, workers) == ("100", "20") and float(seconds) < float(alone), line


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_mysql_transfers(options):
    need_module("pymysql", "python3-pymysql")
    with mariadb_server() as at:
        (line,) = run("mysql_transfers.py", "127.0.0.1", str(at.port), options=options)
    transfers, threads, seconds, alone = re.findall(r"[\d.]+", line)
    assert (transfers, threads) == ("100", "20") and float(seconds) < float(alone), line


@pytest.mark.parametrize("options", [(), ("-m", "microthread")])
def test_postgres_jobs(options):
    need_module("psycopg2", "python3-psycopg2")
    with postgres_server() as at:
        (line,) = run("postgres_jobs.py", f"host=127.0.0.1 port={at.port} user=postgres", options=options)
    jobs, workers, seconds, alone = re.findall(r"[\d.]+", line)
    assert (jobs, workers) == ("100", "20") and float(seconds) < float(alone), line


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
def test_wsgi_app_under_gunicorn(has_flask, tmp_path, monkeypatch):
    # 20.1 and earlier cannot run on CPython 3.12 and later.
    pytest.importorskip("gunicorn", "21", reason="gunicorn 21 or later is not installed")
    if has_flask:
        need_module("flask", "python3-flask")
    else:
        (tmp_path / "flask.py").write_text("raise ImportError")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    port = free_port()
    server = served("wsgi_app.py", port)

    def fetch(number):
        for _ in range(1000):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=TIMEOUT) as answer:
                    return answer.read().decode()
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError) or server.poll() is not None:
                    raise
                time.sleep(0.02)

    try:
        assert fetch("first") == "hello, first\n"  # it is up
        began = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            assert list(pool.map(fetch, range(100))) == [f"hello, {n}\n" for n in range(100)]
        assert time.monotonic() - began < 100 * 0.1  # as it would take one after the other
        server.terminate()
        assert (server.wait(TIMEOUT), server.stdout.read()) == (0, "")
    finally:
        stop(server)
