# SPDX-License-Identifier: MIT
"""Child processes: each on one CPU, with a time limit, and ended only through our own handle on it."""

import ctypes
import os
import signal
import subprocess
import time


class Failed(Exception):
    """A measurement that did not come about; its text goes into the table."""


def last_line(text):
    """The line of an error output that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # prctl(2)


def settle(cpu):
    """In the child before exec: go to its CPU, and die with us even if we are killed outright."""
    os.sched_setaffinity(0, {cpu})
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, cpu, *, cwd=None, env=None, pipe_in=False):
    """A child pinned to `cpu`, its stdout and stderr piped."""
    return subprocess.Popen(
        command, cwd=cwd, env=env, text=True,
        stdin=subprocess.PIPE if pipe_in else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: settle(cpu))


def output(command, cpu, seconds, *, cwd=None, env=None):
    """The last line that `command` prints; Failed when it fails or takes longer than `seconds`."""
    child = start(command, cpu, cwd=cwd, env=env)
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {seconds:g} s") from None
    finally:
        end(child)
    if child.returncode != 0:
        why = last_line(err) or "no message"
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        raise Failed(f"{how}: {why}")
    return last_line(out)


def end(child):
    """Make sure that this child is gone."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                pass


def cpu_time(pid):
    """User and system seconds of all threads of a process so far, to the nanosecond.

    This is clock_getcpuclockid(3): the kernel's clock id of another process's CPU clock.
    """
    return time.clock_gettime((~pid << 3) | 2)
