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
STARTED_IN = 120  # seconds
ENDED_IN = 20

# What the scripts begin with: patched, and work at once. A call that blocked the OS thread would keep away
# those who are waited for: the script would never end.
START = """
    from microthread import patch
    patch.all()
    import sys, threading, time
    errors = []  # of work()

    def until(condition):
        '''Wait until it is true; fail if a work() fails.'''
        while not condition():
            if errors:
                raise errors[0]
            time.sleep(0.002)

    def at_once(count, work, meanwhile=None):
        '''The results of work(0), work(1), ... in threads of their own; meanwhile() is called here.'''
        results = [None] * count
        def run(n):
            try:
                results[n] = work(n)
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
        for thread in threads:
            thread.start()
        if meanwhile:
            meanwhile()
        until(lambda: not any(thread.is_alive() for thread in threads))
        if errors:
            raise errors[0]
        return results

    class Meeting:
        '''A block that nobody leaves before so many have been in it at once.'''
        def __init__(self, count):
            self.count, self.inside, self.most, self.all_came = count, 0, 0, threading.Event()
        def __enter__(self):
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == self.count:
                self.all_came.set()
            self.all_came.wait()
            time.sleep(0.01)  # time for one who should not come
        def __exit__(self, *exc):
            self.inside -= 1
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


def start(command, where, is_up, **options):
    """A server in the foreground that is up; None if somebody took its port in the meantime."""
    name = os.path.basename(command[0])
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "KILL", *command]
    log_path = os.path.join(where, "log")
    with open(log_path, "wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=where,
                                  env=environment(), start_new_session=True, **options)
    try:
        end = time.monotonic() + STARTED_IN
        while not is_up():
            has_ended = server.poll() is not None
            with open(log_path, errors="replace") as log:
                text = log.read()
            if has_ended and "Address already in use" in text:
                return None
            assert not has_ended, f"{name} ended: {text}"
            assert time.monotonic() < end, f"{name} does not answer: {text}"
            time.sleep(0.02)
        return server
    except BaseException:
        server.kill()
        server.wait()
        raise


@contextmanager
def running(command_at, where, is_up, **options):
    """The port of a server that runs until the block ends, or until this process does.

    command_at(port) is its command; is_up(port) tells that it is the one that answers there.
    """
    server = None
    while server is None:
        port = free_port()
        command = command_at(port)
        server = start(command, where, lambda: is_up(port), **options)
    try:
        yield port
    finally:
        server.send_signal(signal.SIGINT if command[0].endswith("postgres") else signal.SIGTERM)
        try:
            server.wait(ENDED_IN)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(port, path):
    """Whether the server of this Unix socket, which it makes after the other one, accepts at this port."""
    if not os.path.exists(path):
        return False
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
        path = f"{where}/sock"
        def command_at(port):
            return [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", path,
                    "--save", "", "--dir", where]
        with running(command_at, where, lambda port: answers(port, path)) as port:
            yield SimpleNamespace(port=port, path=path)


@contextmanager
def mariadb_server():
    """port and path (of a Unix socket) of a MariaDB with TLS, whose user root has no password."""
    install = need_program("mariadb-server", "mariadb-install-db")
    program = need_program("mariadb-server", "mariadbd", "/usr/sbin/mariadbd")
    with folder() as where:
        path = f"{where}/sock"
        user = ["--user=root"] if os.geteuid() == 0 else []
        options = ["--no-defaults", f"--datadir={where}/data", "--innodb-log-file-size=4M", *user]
        subprocess.run([install, *options, "--auth-root-authentication-method=normal",
                        "--skip-test-db", "--skip-name-resolve"], check=True, capture_output=True,
                       timeout=STARTED_IN, env=environment())
        def command_at(port):
            return [program, *options, "--bind-address=127.0.0.1", f"--port={port}",
                    f"--socket={path}", "--skip-name-resolve", f"--pid-file={where}/pid",
                    f"--ssl-cert={PEM}", f"--ssl-key={PEM}", "--innodb-flush-log-at-trx-commit=0"]
        with running(command_at, where, lambda port: answers(port, path)) as port:
            yield SimpleNamespace(port=port, path=path)


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
        subprocess.run([initdb, "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust",
                        "--username=postgres", f"{where}/data"], check=True, capture_output=True,
                       timeout=STARTED_IN, cwd=where, env=environment(), **options)
        def command_at(port):
            return [program, "-D", f"{where}/data", "-p", str(port), "-k", where, "-F",
                    "-c", "listen_addresses=127.0.0.1"]
        def is_up(port):  # it accepts before it serves
            with open(f"{where}/log", "rb") as log:
                return b"ready to accept" in log.read() and answers(port, f"{where}/.s.PGSQL.{port}")
        with running(command_at, where, is_up, **options) as port:
            yield SimpleNamespace(port=port, path=where)
