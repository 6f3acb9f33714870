# SPDX-License-Identifier: MIT
"""gunicorn with our worker class, as its users run it: one master, requests over loopback."""

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

# 20.1 and earlier cannot run on CPython 3.12 and later.
pytest.importorskip("gunicorn", "21", reason="gunicorn 21 or later is not installed")

PEM = str(pathlib.Path(__file__).with_name("data") / "localhost.pem")
LIMIT = 60  # seconds for anything to come about
APP = '''
import os, time

VERSION = {version!r}
met = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.5)
    if path == "/held":
        print("it is held", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
    if path == "/meet":  # one of so many that wait for each other
        met.append(path)
        end = time.monotonic() + {limit} / 2
        while len(met) < int(environ["QUERY_STRING"]):
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.01)
    if path == "/boom":
        raise ValueError("boom")
    body = f"{{VERSION}} {{os.getpid()}} {{path}}".encode()
    if path == "/echo":
        body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
'''


class Server:
    """gunicorn in a child; `log` holds what it wrote so far."""

    def __init__(self, folder, *options):
        self.app = folder / "served.py"
        self.write("one")
        command = [sys.executable, "-m", "gunicorn", "-k", "microthread.gunicorn.Worker", "-b", "127.0.0.1:0",
                   "--graceful-timeout", str(LIMIT), "--keep-alive", str(LIMIT), *options, "served:app"]
        environment = dict(os.environ, HOME=str(folder), PYTHONDONTWRITEBYTECODE="1")
        self.is_tls = "--certfile" in options
        self.log = ""
        self.changed = threading.Condition()
        self.child = subprocess.Popen(command, cwd=folder, env=environment, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.port = int(self.await_log(r"Listening at: https?://127\.0\.0\.1:(\d+)")[1])
        self.get()  # one that boots still does not hear signals

    def write(self, version):
        self.app.write_text(APP.format(version=version, limit=LIMIT))

    def read(self):
        for line in self.child.stdout:
            with self.changed:
                self.log += line
                self.changed.notify_all()

    def await_log(self, pattern):
        with self.changed:
            assert self.changed.wait_for(lambda: re.search(pattern, self.log), LIMIT), self.log
            return re.search(pattern, self.log)

    def connect(self):
        if self.is_tls:
            return http.client.HTTPSConnection("localhost", self.port, timeout=LIMIT,
                                               context=ssl.create_default_context(cafile=PEM))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)

    def get(self, path="/"):
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def stop(self, signum=signal.SIGTERM):
        self.child.send_signal(signum)
        status = self.child.wait(LIMIT)
        self.reader.join()
        return status


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(*options):
        servers.append(Server(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        if server.child.poll() is None:
            server.child.kill()
            server.child.wait()
        server.reader.join()
        server.child.stdout.close()


def in_parallel(count, function):
    """The results of `count` calls in OS threads, and the seconds they took together."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(function())) for _ in range(count)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, time.monotonic() - started


def test_slow_requests_of_one_worker_run_at_the_same_time(serve):
    server = serve()
    results, _ = in_parallel(20, lambda: server.get("/meet?20"))
    assert [status for status, _ in results] == [200] * 20
    assert len({text for _, text in results}) == 1  # one process
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log


def test_connection_is_kept_alive_and_request_bodies_arrive(serve):
    server = serve()
    with contextlib.closing(server.connect()) as connection:
        for number in range(5):
            body = os.urandom(1000 * number)
            connection.request("POST", "/echo", body)
            response = connection.getresponse()
            assert response.read() == body
            assert not response.will_close
    assert server.stop() == 0


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_that_the_application_leaves_unread_is_skipped(serve, is_chunked):
    server = serve()
    with contextlib.closing(server.connect()) as connection:
        for number in range(3):
            body = b"GET /boom HTTP/1.1\r\n\r\n" * 1000 * number
            connection.request("POST", f"/{number}", iter([body]) if is_chunked else body, encode_chunked=is_chunked,
                               headers={"Transfer-Encoding": "chunked"} if is_chunked else {})
            assert connection.getresponse().read().endswith(b" /%d" % number)
    assert server.stop() == 0


def test_failing_application_gives_500_and_the_worker_goes_on(serve):
    server = serve()
    assert server.get("/boom")[0] == 500
    assert server.get("/")[0] == 200
    assert server.stop() == 0
    assert "ValueError: boom" in server.log


def test_term_lets_a_request_under_way_finish(serve, tmp_path):
    server = serve("--graceful-timeout", str(3 * LIMIT))
    answers = []
    client = threading.Thread(target=lambda: answers.append(server.get("/held")))
    client.start()
    server.await_log("it is held")
    server.child.send_signal(signal.SIGTERM)
    server.await_log("Handling signal: term")
    time.sleep(0.1)  # the worker is told
    (tmp_path / "go").touch()
    assert server.child.wait(LIMIT) == 0, server.log  # long before the timeout
    client.join()
    assert answers and answers[0][0] == 200


def test_hup_replaces_the_workers_and_their_code_without_a_lost_request(serve):
    server = serve()
    assert server.get()[1].startswith("one ")
    server.write("two")
    server.child.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + LIMIT
    while True:
        status, text = server.get()
        assert status == 200, server.log + text
        if text.startswith("two "):
            break
        assert time.monotonic() < deadline, server.log
    assert server.stop() == 0


def test_worker_connections_limits_how_many_are_served_at_once(serve):
    server = serve("--worker-connections", "2")
    results, seconds = in_parallel(4, lambda: server.get("/slow"))
    assert [status for status, _ in results] == [200] * 4
    assert seconds > 0.9  # two and two
    assert server.stop() == 0


def test_max_requests_makes_a_new_worker(serve):
    server = serve("--max-requests", "3")
    workers = [server.get()[1].split()[1]]
    while workers[-1] == workers[0]:
        assert len(workers) < 10
        workers.append(server.get()[1].split()[1])
    assert server.stop() == 0  # the new one hears it, and has requests left


def test_quit_does_not_wait_for_requests(serve):
    server = serve("--graceful-timeout", str(3 * LIMIT))
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/held")
        server.await_log("it is held")
        server.stop(signal.SIGQUIT)


def test_idle_connection_is_closed_after_keep_alive(serve):
    server = serve("--keep-alive", "1")
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.sock.settimeout(LIMIT)
        assert connection.sock.recv(1) == b""
    assert server.stop() == 0


@pytest.mark.parametrize("options", [(), ("--do-handshake-on-connect",)])
def test_tls_with_slow_and_wrong_clients_beside(serve, options):
    server = serve("--certfile", PEM, *options)
    with socket.create_connection(("127.0.0.1", server.port)), \
            socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as wrong:
        wrong.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"200 OK" not in wrong.recv(1000)
        results, _ = in_parallel(5, lambda: server.get("/meet?5"))
        assert [status for status, _ in results] == [200] * 5
        with contextlib.closing(server.connect()) as connection:
            for size in (0, 5, 100_000):
                connection.request("POST", "/echo", bytes(size))
                assert connection.getresponse().read() == bytes(size)
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log


def test_hook_of_a_ready_worker_may_change_settings(serve, tmp_path):
    (tmp_path / "settings.py").write_text(
        "def post_worker_init(worker):\n    worker.cfg.set('limit_request_line', 100)\n"
    )
    server = serve("-c", "settings.py")
    assert server.get("/" + 50 * "x")[0] == 200
    assert server.get("/" + 100 * "x")[0] in (400, 414)


def test_http2(serve, tmp_path):
    pytest.importorskip("gunicorn.http2", reason="this gunicorn has no HTTP/2")
    pytest.importorskip("h2", reason="h2 is not installed")
    curl = shutil.which("curl")
    if not curl or "HTTP2" not in subprocess.run([curl, "-V"], capture_output=True, text=True).stdout:
        pytest.skip("no curl that speaks HTTP/2")
    server = serve("--certfile", PEM, "--keyfile", PEM, "--http-protocols", "h2,h1")

    address = f"https://localhost:{server.port}"

    def ask(*options):
        """The HTTP version of each answer; what came is in the files."""
        done = subprocess.run([curl, "-sS", "--http2", "--cacert", PEM, "-m", str(LIMIT), "-w", "%{http_version}\n",
                               *options], cwd=tmp_path, capture_output=True, text=True, timeout=2 * LIMIT)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert ask(f"{address}/echo", "-d", 100_000 * "x", "-o", "echoed") == ["2"]
    assert (tmp_path / "echoed").read_text() == 100_000 * "x"
    assert ask("-Z", f"{address}/[0-9]", "-o", "of#1") == ["2"] * 10
    for n in range(10):
        assert (tmp_path / f"of{n}").read_text().endswith(f" /{n}")
