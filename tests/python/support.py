# SPDX-License-Identifier: MIT
"""Run a script in a child process: for tests that may crash, hang or end their interpreter."""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent


def child_environment(env=None):
    """This process's environment, with a PYTHONPATH that finds what this process finds."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.update(env or {})
    return environment


def run_script(source, *, timeout=60, args=(), env=None, stdin="", options=()):
    """Run source in a fresh interpreter of this version; never raises.

    timeout in seconds; options go before the script. Returns args, returncode, stdout, stderr and
    timed_out; a script that takes too long is shown its stacks (stderr), and its returncode is
    -SIGKILL or -SIGABRT.
    """
    command = [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(source),
               *map(str, args)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=child_environment(env), text=True,
                             errors="backslashreplace", start_new_session=True)
    timed_out = False
    try:
        out, err = child.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        child.send_signal(signal.SIGABRT)  # faulthandler prints the stacks
        try:
            out, err = child.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            kill_session(child.pid)
            out, err = child.communicate()
    finally:
        kill_session(child.pid)  # what it forked
    return SimpleNamespace(args=command, returncode=child.returncode, stdout=out, stderr=err,
                           timed_out=timed_out)


def kill_session(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def check_script(source, expected="ok\n", **options):
    """run_script, which must end with status 0, nothing on stderr and this on stdout."""
    done = run_script(source, **options)
    report = f"status {done.returncode}, timed out: {done.timed_out}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0 and done.stdout == expected and not done.stderr, report
    return done


def until_all_wait(*threads):
    """Let others run until all of these wait. A stress build yields oftener than others do."""
    from microthread import yield_now

    while any(thread.state != "waiting" for thread in threads):
        yield_now()
