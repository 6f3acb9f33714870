# SPDX-License-Identifier: MIT
"""microthread.subprocess: children whose pipes and ends only a micro-thread waits for."""
import os
import signal
import subprocess as standard
import sys
from time import monotonic

import pytest

from microthread import sleep, spawn, subprocess
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

    with shell(f"timeout 20 head -c 1 </dev/fd/{r} >/dev/null", pass_fds=[r], **options) as process:
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
        done = subprocess.run(["cat"], input=text, capture_output=True, text=True, timeout=60)
        return done.stdout == text and done.returncode == 0

    begun = monotonic()
    assert all(thread.wait(60) for thread in [spawn(one, n) for n in range(50)])
    threads = [spawn(subprocess.run, ["sleep", "0.2"]) for _ in range(10)]
    begun = monotonic()
    for thread in threads:
        thread.wait(LIMIT)
    assert monotonic() - begun < 1.9


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


def test_wait_and_communicate_that_take_too_long():
    with shell("echo early; exec sleep 60", stdout=PIPE) as process:
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
        subprocess.run(["sleep", "60"], timeout=0.01)


def test_several_wait_for_one_child():
    with shell("sleep 0.02; exit 3") as process:
        assert [one.wait(LIMIT) for one in [spawn(process.wait) for _ in range(3)]] == [3] * 3


def test_cancelled_waiter_leaves_the_child_running():
    with shell("exec sleep 60") as process:
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
        from microthread import sleep, spawn, subprocess
        process = subprocess.Popen(["sleep", "0.5"], stdout=subprocess.PIPE)
        spawn(process.communicate)
        sleep(0.01)
        process.returncode = 0  # or it warns
        print("ok")
    """, timeout=10)


def test_line_buffering_of_bytes_is_warned_of():
    with pytest.warns(RuntimeWarning, match="line buffering"):
        process = shell("true", stdout=PIPE, bufsize=1)
    process.communicate(timeout=LIMIT)
