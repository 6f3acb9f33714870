# SPDX-License-Identifier: MIT
"""Real servers for the tests of programs: Debian's, on loopback, in a folder of their own.

Each is a context manager that yields where the server is; a server that is not installed, or a
client package that this interpreter does not have, skips the test and says which package is missing.
"""
import glob
import importlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

PEM = str(Path(__file__).with_name("data") / "localhost.pem")  # a certificate and its key
STARTED_IN = 60  # seconds
ENDED_IN = 20

# What the scripts begin with: patched, a ticker that must not stand still, and work at once.
START = """
    from microthread import patch
    patch.all()
    import sys, threading, time

    class Ticker:
        '''A thread that ticks every 5 ms; the work in the block must have let it.'''
        def __enter__(self):
            self.ticks, self.ended, self.began = 0, False, time.perf_counter()
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()
            return self
        def run(self):
            while not self.ended:
                time.sleep(0.005)
                self.ticks += 1
        def __exit__(self, kind, *exc):
            self.ended = True
            self.seconds = time.perf_counter() - self.began
            self.thread.join()
            assert kind or self.ticks >= self.seconds / 0.1, f"{self.ticks} ticks in {self.seconds} s"

    def at_once(count, work):
        '''The results of work(0), work(1), ... in threads of their own, while a ticker ticks; seconds.'''
        results, errors = [None] * count, []
        def run(n):
            try:
                results[n] = work(n)
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
        with Ticker() as ticker:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]
        return results, ticker.seconds
"""


def need_module(name, package):
    """Skip the test unless the module can be imported; the Debian package that has it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"this interpreter has no {name} ({error}); Debian: apt-get install {package}")


def need_program(package, *candidates):
    """The path of the program, or skip the test."""
    for candidate in candidates:
        for path in sorted(glob.glob(candidate)) or [shutil.which(candidate)]:
            if path:
                return path
    pytest.skip(f"{candidates[0]} is not installed; Debian: apt-get install {package}")


def free_port():
    """A port to listen on, outside the range from which connections get theirs."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            pass


def environment():
    """Ours without what is for our interpreter; in English."""
    left_out = {"LD_PRELOAD", "PYTHONPATH", "PYTHONMALLOC", "LANG", "LANGUAGE"}
    kept = {name: value for name, value in os.environ.items()
            if name not in left_out and not name.startswith(("PG", "LC_", "MYSQL"))}
    return {**kept, "LC_ALL": "C"}


@contextmanager
def folder(owner=None):
    """A new folder that this user can enter; its path is short enough for a Unix socket in it."""
    path = tempfile.mkdtemp(prefix="mt-")
    try:
        if owner is not None:
            shutil.chown(path, owner)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(command, where, is_up, **options):
    """A server in the foreground, from when it is up until the block ends, or until this process does."""
    name = os.path.basename(command[0])
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "KILL", *command]
    log_path = os.path.join(where, "log")
    with open(log_path, "ab") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=where,
                                  env=environment(), start_new_session=True, **options)
    try:
        end = time.monotonic() + STARTED_IN
        while not is_up():
            with open(log_path, errors="replace") as log:
                assert server.poll() is None, f"{name} ended: {log.read()}"
                assert time.monotonic() < end, f"{name} does not answer: {log.read()}"
            time.sleep(0.02)
        yield server
    finally:
        server.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            server.wait(ENDED_IN)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(port):
    """Whether somebody accepts at this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def redis_server():
    """port and path (of a Unix socket) of a Redis."""
    program = need_program("redis-server", "redis-server")
    with folder() as where:
        at = SimpleNamespace(port=free_port(), path=f"{where}/sock")
        command = [program, "--port", str(at.port), "--bind", "127.0.0.1", "--unixsocket", at.path,
                   "--save", "", "--dir", where]
        with running(command, where, lambda: answers(at.port)):
            yield at


@contextmanager
def mariadb_server():
    """port and path (of a Unix socket) of a MariaDB with TLS, whose user root has no password."""
    install = need_program("mariadb-server", "mariadb-install-db")
    program = need_program("mariadb-server", "mariadbd", "/usr/sbin/mariadbd")
    with folder() as where:
        at = SimpleNamespace(port=free_port(), path=f"{where}/sock")
        user = ["--user=root"] if os.geteuid() == 0 else []
        options = ["--no-defaults", f"--datadir={where}/data", "--innodb-log-file-size=4M", *user]
        subprocess.run([install, *options, "--auth-root-authentication-method=normal",
                        "--skip-test-db", "--skip-name-resolve"], check=True, capture_output=True,
                       timeout=STARTED_IN, env=environment())
        command = [program, *options, "--bind-address=127.0.0.1", f"--port={at.port}",
                   f"--socket={at.path}", "--skip-name-resolve", f"--pid-file={where}/pid",
                   f"--ssl-cert={PEM}", f"--ssl-key={PEM}", "--innodb-flush-log-at-trx-commit=0"]
        with running(command, where, lambda: answers(at.port)):
            yield at


@contextmanager
def postgres_server():
    """port and path (of the folder of its Unix socket) of a PostgreSQL; user and database: postgres."""
    initdb = need_program("postgresql", "/usr/lib/postgresql/*/bin/initdb", "initdb")
    program = os.path.join(os.path.dirname(initdb), "postgres")
    owner, options = None, {}
    if os.geteuid() == 0:  # it refuses to run as root
        owner = "postgres"
        account = pwd.getpwnam(owner)
        options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with folder(owner) as where:
        at = SimpleNamespace(port=free_port(), path=where)
        subprocess.run([initdb, "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust",
                        "--username=postgres", f"{where}/data"], check=True, capture_output=True,
                       timeout=STARTED_IN, cwd=where, env=environment(), **options)
        command = [program, "-D", f"{where}/data", "-p", str(at.port), "-k", where, "-F",
                   "-c", "listen_addresses=127.0.0.1"]
        def is_up():  # it accepts before it serves
            return answers(at.port) and b"ready to accept" in open(f"{where}/log", "rb").read()
        with running(command, where, is_up, **options):
            yield at
