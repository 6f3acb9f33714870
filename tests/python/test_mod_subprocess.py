# SPDX-License-Identifier: MIT
"""microthread.subprocess: children whose pipes and ends only a micro-thread waits for."""
import os
import select
import signal
import subprocess as standard
import sys

import pytest

from microthread import sleep, socket, spawn, subprocess, wait_readable
from socket_support import LIMIT, parked
from support import check_script

PIPE = subprocess.PIPE


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def shell(script, **options):
    return subprocess.Popen(["sh", "-c", script], **options)


@pytest.mark.parametrize("options", [{}, {"stdout": PIPE}, {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}])
@pytest.mark.parametrize("end", [lambda p: p.wait(), lambda p: p.wait(LIMIT), lambda p: p.communicate(),
                                 lambda p: p.communicate(timeout=LIMIT)])
def test_others_run_while_a_child_does(options, end):
    r, w = os.pipe()

    def other():
        sleep(0.001)
        os.write(w, b"x")

    with shell(f"timeout 60 head -c 1 </dev/fd/{r} >/dev/null", pass_fds=[r], **options) as process:
        other = spawn(other)
        end(process)
        assert process.returncode == 0 and other.done()
    os.close(r)
    os.close(w)


def test_popen_is_one_of_the_standard_ones():
    with shell("exit 3") as process:
        assert isinstance(process, standard.Popen) and "sh" in repr(process)
        assert process.wait() == 3 == process.poll()


def test_fifty_at_once():
    def one(number):
        text = f"{number} " * 30_000  # more than a pipe holds
        done = subprocess.run(["cat"], input=text, capture_output=True, text=True, timeout=240)
        return done.stdout == text and done.returncode == 0

    assert all([thread.wait() for thread in [spawn(one, n) for n in range(50)]])


def test_all_run_at_once():
    (reader, begun), (gate, opener) = os.pipe(), os.pipe()
    command = ["sh", "-c", "echo; exec timeout 60 cat"]  # the end of the gate is theirs
    threads = [spawn(subprocess.run, command, stdin=gate, stdout=begun) for _ in range(10)]
    for _ in range(10):
        wait_readable(reader, 60)
        assert os.read(reader, 1) == b"\n"
    os.close(opener)
    assert [thread.wait().returncode for thread in threads] == [0] * 10
    for fd in (reader, begun, gate):
        os.close(fd)


def test_functions():
    assert subprocess.check_output(["echo", "text"], text=True) == "text\n"
    assert subprocess.getoutput("echo text") == "text"
    assert subprocess.getstatusoutput("exit 3") == (3, "")
    assert subprocess.call(["sh", "-c", "exit 3"]) == 3
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.check_call(["sh", "-c", "exit 3"])
    assert caught.value.returncode == 3 and isinstance(caught.value, standard.CalledProcessError)
    done = subprocess.run("echo out; echo err >&2", shell=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_dialogue_by_lines():
    with subprocess.Popen([sys.executable, "-uc", "for line in iter(input, 'end'): print(line[::-1])"],
                          stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        for word in ("one", "two"):
            process.stdin.write(word + "\n")
            assert process.stdout.readline() == word[::-1] + "\n"
        process.stdin.write("end\n")
        assert process.stdout.read() == ""


def test_unbuffered_pipes():
    with shell("cat", stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        assert process.stdin.write(b"abc") == 3 and process.stdout.read(2) == b"ab"
        buffer = bytearray(5)
        assert process.stdout.readinto(buffer) == 1 and buffer[:1] == b"c"
        os.set_blocking(process.stdout.fileno(), False)
        assert process.stdout.read(1) is None is process.stdout.readinto(buffer)
        os.set_blocking(process.stdout.fileno(), True)
        process.stdin.close()
        assert process.stdout.readall() == b""


@pytest.mark.parametrize("how", ["stdin", "number", "pass_fds"])
def test_child_that_gets_a_socket_gets_one_that_blocks(how):
    program = "import os, sys; fd = int(sys.argv[1]); print(os.get_blocking(fd), os.read(fd, 9)); os.write(fd, b'bye')"
    ours, lent = socket.socketpair()
    with ours, lent:
        options = {"stdin": {"stdin": lent}, "number": {"stdin": lent.fileno()},
                   "pass_fds": {"pass_fds": [lent.fileno()]}}[how]
        fd = lent.fileno() if how == "pass_fds" else 0
        with subprocess.Popen([sys.executable, "-c", program, str(fd)], stdout=PIPE, **options) as process:
            sleep(0.1)  # it may have come to its read
            ours.sendall(b"hello")
            assert process.communicate(timeout=LIMIT) == (b"True b'hello'\n", None)
            assert ours.recv(9) == b"bye"
        # It still waits for its micro-thread only.
        readers = [spawn(lent.recv, 1), spawn(lent.recvmsg, 1)]
        sleep(0.01)
        ours.sendall(b"xx")
        assert [reader.wait(LIMIT) for reader in readers] == [b"x", (b"x", [], 0, None)]


@pytest.mark.parametrize("kind", ["listening", "with a time-out"])
def test_socket_that_must_not_block_stays_so_in_a_child(kind):
    sock = socket.create_server(("127.0.0.1", 0))
    with sock:
        if kind != "listening":
            sock = socket.socketpair()[0]
            sock.settimeout(5)
        program = "import os; print(os.get_blocking(0))"
        assert subprocess.check_output([sys.executable, "-c", program], stdin=sock) == b"False\n"
        sock.close()


@pytest.mark.parametrize("text", [False, True])
def test_several_read_and_write_one_pipe(text):
    with subprocess.Popen(["cat"], stdin=PIPE, stdout=PIPE, text=text) as process:
        readers = [spawn(process.stdout.readline) for _ in range(10)]
        sleep(0.01)
        lines = ["line %d\n" % n if text else b"line %d\n" % n for n in range(10)]
        writers = [spawn(lambda line=line: (process.stdin.write(line), process.stdin.flush()))
                   for line in lines]
        for thread in writers:
            thread.wait(LIMIT)
        assert sorted(reader.wait(LIMIT) for reader in readers) == lines
        process.stdin.close()
        assert not process.stdout.read()


def test_pipe_made_non_blocking_by_its_user():
    with shell("read x; printf abc; read x; exit", stdin=PIPE, stdout=PIPE) as process:
        os.set_blocking(process.stdout.fileno(), False)
        assert process.stdout.read() is process.stdout.read(1) is process.stdout.readinto(bytearray(1)) is None
        process.stdin.write(b"\n")
        process.stdin.flush()
        select.select([process.stdout], [], [], LIMIT)
        assert process.stdout.read() == b"abc" and process.stdout.read() is None
        process.stdin.write(b"\n")
        process.stdin.flush()
        select.select([process.stdout], [], [], LIMIT)
        assert process.stdout.read() == b""


def test_wait_and_communicate_that_take_too_long():
    with shell("echo early; exec sleep 600", stdout=PIPE) as process:
        wait_readable(process.stdout, 60)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.05)
        process.terminate()
        assert process.communicate(timeout=LIMIT) == (b"early\n", None)
        assert process.returncode == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "600"], timeout=0.01)


def test_several_wait_for_one_child():
    with shell("sleep 0.02; exit 3") as process:
        assert [one.wait(LIMIT) for one in [spawn(process.wait) for _ in range(3)]] == [3] * 3


def test_cancelled_waiter_leaves_the_child_running():
    with shell("exec sleep 600") as process:
        parked(process.wait).cancel()
        sleep(0.01)
        assert process.poll() is None
        process.kill()


def test_child_that_others_have_fetched():
    with shell("exit 3") as process:
        os.waitpid(process.pid, 0)
        assert process.wait() == 0  # as the standard one


@pytest.mark.parametrize("args, error", [(["/no/such/program"], FileNotFoundError), ([b"a\0b"], ValueError),
                                         ([3], TypeError), ([__file__], PermissionError)])
def test_program_that_cannot_be_run(args, error):
    with pytest.raises(error):
        subprocess.Popen(args, stdin=PIPE, stdout=PIPE, stderr=PIPE)


def test_broken_pipe_to_the_child():
    with shell("exit 0", stdin=PIPE) as process:
        process.communicate(b"x" * 300_000)
        assert process.returncode == 0


def test_child_left_running_at_the_end_of_the_process():
    check_script("""
        from microthread import sleep, socket, spawn, subprocess
        process = subprocess.Popen(["sleep", "0.5"], stdout=subprocess.PIPE)
        spawn(process.communicate)
        sleep(0.01)
        process.returncode = 0  # or it warns
        print("ok")
    """)


def test_switches_of_the_standard_module_work(monkeypatch):
    def fork_exec(*args):
        raise RuntimeError("asked")

    monkeypatch.setattr(standard, "_fork_exec", fork_exec)
    with pytest.raises(RuntimeError, match="asked"):
        shell("true", close_fds=False)


def test_line_buffering_of_bytes_is_warned_of():
    with pytest.warns(RuntimeWarning, match="line buffering"):
        process = shell("true", stdout=PIPE, bufsize=1)
    process.communicate(timeout=LIMIT)
