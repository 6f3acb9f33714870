# SPDX-License-Identifier: MIT
"""serve_top() and python -m microthread.top: what another process is told of the micro-threads here."""
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import microthread.top
from microthread import _serving
from file_support import open_pty
from support import check_script, child_environment

PROGRAM = """
import sys, microthread
def work(pipe):
    pipe.take()
pipe = microthread.micro_pipe()
microthread.micro_thread(work, (pipe,), name="the cook\\x1b[2J").start()
def busy():
    while not pipe.closed:
        microthread.sleep(0.001)
for _ in range(2):
    microthread.spawn(busy)
{serve}
microthread.yield_now()
print("serves", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A folder for sockets that is this test's own, here and in children."""
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's name is short
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # where sockets of others may be, left by the dead
        monkeypatch.delenv("MICROTHREAD_TOP", raising=False)
        yield Path(folder)


@contextlib.contextmanager
def program(serve="", env=None, waits="microthread.wait_readable(0); "):
    source = PROGRAM.format(serve=serve).replace("sys.stdin.read()", waits + "sys.stdin.read()")
    child = subprocess.Popen([sys.executable, "-X", "faulthandler", "-c", source], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=child_environment(env))
    try:
        assert child.stdout.readline() == "serves\n"
        yield child
        child.stdin.close()
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stdin.close()


def top(*args):
    return subprocess.run([sys.executable, "-m", "microthread.top", *map(str, args)], text=True,
                          capture_output=True, timeout=60, env=child_environment())


def test_table_shows_states_waits_and_rates_once_without_a_tty(runtime):
    with program("microthread.serve_top()") as child:
        for _ in range(5):
            done = top("--interval", 0.3, child.pid)
            assert done.returncode == 0, done.stderr
            lines = done.stdout.splitlines()
            if int(lines[3].split()[6]) > 0:  # else the machine has let it do nothing in the meantime
                break
    assert lines[0].startswith(f"process {child.pid}: -c") and "\x1b" not in done.stdout
    loop = lines[3].split()
    assert loop[:2] == ["0", str(child.pid)] and loop[3] == "4"
    assert loop[2].isdecimal() and int(loop[6]) > 0  # CPU % and switches/s
    cook = next(line for line in lines if "the cook?[2J" in line)
    assert cook.split()[2] == "waiting" and "take from <" in cook
    assert any(line.startswith("waiting for:") for line in lines)


def test_environment_variable_serves_and_its_socket_is_private_and_goes_away(runtime):
    with program(env={"MICROTHREAD_TOP": "1"}) as child:
        path = runtime / "microthread" / f"{child.pid}.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert "the cook" in top("--interval", 0.01, path).stdout
    assert not path.exists()


def test_tcp_serves_too(runtime):
    with program("microthread.serve_top(('127.0.0.1', 0))") as child:
        with open(f"/proc/{child.pid}/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        folder = f"/proc/{child.pid}/fd"
        inodes = set()
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                inodes.add(os.readlink(f"{folder}/{fd}"))
        port = next(int(row[1].split(":")[1], 16) for row in rows if f"socket:[{row[9]}]" in inodes)
        done = top("--interval", 0.01, f"127.0.0.1:{port}")
    assert "the cook" in done.stdout, done.stderr


def test_one_that_keeps_the_loop_is_shown_running(runtime):
    with program("microthread.serve_top()", waits="""
def hog():
    print("hogs", flush=True)
    while not __import__("select").select([0], [], [], 0)[0]: pass
microthread.micro_thread(hog, name="hog").start()
microthread.yield_now(); """) as child:
        assert child.stdout.readline() == "hogs\n"
        done = top("--interval", 0.05, child.pid)
    assert any("running" in line and "hog" in line for line in done.stdout.splitlines()), done.stdout


def test_terminal_gets_a_live_table_until_the_process_ends(runtime):
    with program("microthread.serve_top()") as child:
        ours, theirs = open_pty()
        viewer = subprocess.Popen([sys.executable, "-m", "microthread.top", "--interval", "0.05",
                                   str(child.pid)], stdout=theirs, stderr=subprocess.PIPE, text=True,
                                  env=child_environment())
        os.close(theirs)
        seen = b""
        while seen.count(b"\x1b[H") < 3:
            seen += os.read(ours, 65536)
    with contextlib.suppress(OSError):
        while os.read(ours, 65536):
            pass
    os.close(ours)
    _, problem = viewer.communicate(timeout=60)
    assert b"the cook" in seen and viewer.returncode == 1
    assert f"process {child.pid}" in problem or "serves" in problem


def test_server_is_no_thread_hides_no_deadlock_and_holds_up_no_exit(runtime):
    check_script("""
        import threading, microthread
        path = microthread.serve_top()
        assert microthread.serve_top() == microthread.serve_top(path) == path
        assert len(microthread.threads()) == 1 and threading.active_count() == 1
        try:
            microthread.micro_pipe().take()
        except microthread.DeadlockError:
            print("ok")
    """)


def test_child_of_a_fork_serves_by_its_own_number(runtime):
    check_script("""
        import os, sys, warnings, microthread
        warnings.simplefilter("ignore")
        path = microthread.serve_top()
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert os.path.exists(path)
            print("ok")
        else:
            own = os.path.join(os.path.dirname(path), f"{os.getpid()}.sock")
            assert own != path and os.path.exists(own), os.listdir(os.path.dirname(path))
    """)


def test_interpreters_are_shown_together(runtime):
    serve = '''
from microthread import interpreters
other = interpreters.create()
other.run("""if True:
    import microthread
    microthread.serve_top()
    t = microthread.spawn(microthread.sleep, 100)
    while t.state != "waiting":
        microthread.yield_now()
""")
mine = microthread.spawn(microthread.sleep, 100)
while mine.state != "waiting":
    microthread.yield_now()
microthread.serve_top()
'''
    with program(serve) as child:
        done = top("--interval", 0.05, child.pid)
    rows = [line.split() for line in done.stdout.splitlines() if " waiting " in line and " sleep " in line]
    assert "the cook" in done.stdout and {row[0] for row in rows} > {"0"}, done.stdout + done.stderr


def test_no_process_and_one_that_does_not_serve_are_said(runtime):
    nobody = (1 << 22) + 1  # more than Linux gives
    done = top(nobody)
    assert done.returncode == 1 and f"there is no process {nobody}" in done.stderr
    done = top(os.getpid())
    assert done.returncode == 1 and "does not serve: call microthread.serve_top()" in done.stderr
    done = top(runtime / "nothing.sock")
    assert done.returncode == 1 and "nobody serves at" in done.stderr


def test_foreign_folder_is_said_to_be_forbidden(runtime, monkeypatch):
    def forbid(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", forbid)
    with pytest.raises(microthread.top.Problem, match="no permission"):
        microthread.top.find_sockets(os.getpid())


def test_other_servers_are_told_apart(runtime):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        viewer = subprocess.Popen([sys.executable, "-m", "microthread.top",
                                   f"127.0.0.1:{listener.getsockname()[1]}"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=child_environment())
        client, _ = listener.accept()
        client.sendall(b"SSH-2.0\r\n")
        client.close()
        _, problem = viewer.communicate(timeout=60)
    assert viewer.returncode == 1 and "is not microthread.serve_top()" in problem


@pytest.mark.parametrize("args", [(), ("--interval",), ("--interval", "0", "1"), ("1", "2"), ("-x",)])
def test_bad_arguments_get_the_usage(args):
    done = top(*args)
    assert done.returncode == 1 and done.stderr.startswith("usage:")


@pytest.mark.parametrize("address, error, text", [
    (("192.0.2.1", 80), ValueError, "loopback"),
    ("somewhere", ValueError, "host:port"),
    (("127.0.0.1",), ValueError, "address must be a"),
    (7, TypeError, "address must be a path"),
    ("/nowhere/at/all", FileNotFoundError, "No such file"),
])
def test_bad_addresses_are_refused(address, error, text):
    with pytest.raises(error, match=text):
        microthread.serve_top(address)
    assert _serving.server.listener is None


def test_folder_of_somebody_else_is_not_trusted(runtime, monkeypatch, tmp_path):
    (runtime / "microthread").mkdir()
    (runtime / "microthread").chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = _serving.make_folder()
    assert path == str(tmp_path / f"microthread-{os.geteuid()}")
    os.chmod(path, 0o777)
    with pytest.raises(PermissionError):
        _serving.make_folder()


def test_answer_is_json_of_counts_and_micro_threads(runtime):
    with program("microthread.serve_top()") as child:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(runtime / "microthread" / f"{child.pid}.sock"))
            answer = json.load(client.makefile("rb"))
    (loop,) = answer["loops"]
    assert answer["pid"] == child.pid and abs(answer["time"] - time.monotonic()) < 60
    assert loop["threads"] == 4 and len(loop["micro_threads"]) == 4
