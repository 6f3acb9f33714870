# SPDX-License-Identifier: MIT
"""The end of the process with interpreters in every phase of their lives: clean, whatever they do."""
import subprocess
import sys

import pytest

from support import HERE, check_script, child_environment, run_script

START = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import microthread
from microthread import sleep, spawn
from microthread.interpreters import create, create_channel
def nap():
    microthread.sleep(100)
def spin():
    while True:
        pass
def swallow():
    def stay():
        while True:
            try:
                microthread.sleep(100)
            except BaseException:
                pass
    microthread.spawn(stay)
    microthread.sleep(0.001)
def wait_for(receiver):
    receiver.recv()
microthread.excepthook = lambda args: None
"""

PHASES = {
    "starting": "spawn(create); sleep({n} * 0.002)",
    "three starting": "for _ in range(3): spawn(create)\nsleep({n} * 0.003)",
    "idle": "one = create()",
    "sleeping": "one, two = create(), create(); one.spawn(nap); two.spawn(nap); sleep({n} * 0.001)",
    "in a channel": "one, two = create(), create(); ends = create_channel()\n"
                    "one.spawn(wait_for, ends[0]); two.spawn(wait_for, ends[0]); sleep({n} * 0.001)",
    "calling": "one = create(); spawn(one.call, nap); sleep(0.001)",
    "running": "one = create(); spawn(one.run, 'import microthread; microthread.sleep(100)'); sleep(0.01)",
    "closing": "one = create(); one.spawn(nap); spawn(one.close); sleep({n} * 0.0005)",
    "swallowing": "one = create(); one.call(swallow)",
    "sys.exit": "one = create(); one.spawn(nap); sys.exit()",
    "own_gil=False": "one = create(own_gil=False); one.spawn(nap); sleep({n} * 0.001)",
    "of another": "one = create(); one.run('from microthread.interpreters import create; two = create()')",
    "another OS thread": "import threading\nthreading.Thread(target=lambda: create().call(nap),"
                         " daemon=True).start(); sleep({n} * 0.005)",
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("n", [0, 3])
def test_exit_is_clean(phase, n):
    done = run_script(START + PHASES[phase].format(n=n))
    report = f"{done.returncode} {done.timed_out}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0 and not done.timed_out and "Fatal" not in done.stderr, report
    if phase != "another OS thread":  # whose thread reports that its call did not end well
        assert not done.stderr, report


@pytest.mark.parametrize("own_gil", [True, False])
@pytest.mark.parametrize("work", ["spin", "catch_all", "catch_all_and_call"])
def test_exit_interrupts_a_busy_interpreter(work, own_gil):
    check_script(START + f"""
def catch_all():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
def catch_all_and_call():
    def inner():
        while True:
            try:
                len(str(5))
            except BaseException:
                pass
            finally:
                continue
    while True:
        try:
            inner()
        except:
            pass
one, two = create(own_gil={own_gil}), create()
one.spawn({work})
two.spawn(nap)
sleep(0.02)
print('ok')
""", options=("-W", "ignore::SyntaxWarning"))  # 3.14 advises against that `finally`


@pytest.mark.parametrize("own_gil", [True, False])
def test_exit_does_not_interrupt_the_import_system(own_gil):
    """It would be left with its locks held: on 3.11 no interpreter could import any more."""
    check_script(START + f"""
def load(begun):
    source = '''
import time
begun.send(None)
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
print("ok", flush=True)
'''
    exec(compile(source, "<frozen importlib._bootstrap>", "exec"), {{"begun": begun}})
one = create(own_gil={own_gil})
receiver, sender = create_channel()
handle = one.spawn(load, sender)
receiver.recv()
""")


@pytest.mark.parametrize("own_gil", [True, False])
def test_exit_ends_those_that_import_for_ever(own_gil):
    check_script(START + f"""
def load(begun):
    import sys
    begun.send(None)
    while True:
        try:
            while True:
                sys.modules.pop("colorsys", None)
                import colorsys
        except BaseException:
            pass
receiver, sender = create_channel()
some = [create(own_gil={own_gil}) for _ in range(3)]
for one in some:
    one.spawn(load, sender)
for one in some:
    receiver.recv()
print("ok")
""")


def test_exits_drawn_by_lot_are_clean():
    done = subprocess.run([sys.executable, HERE.parent / "stress/exits.py", "--count", "25", "--jobs", "1"],
                          env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "25 of 25 clean" in done.stdout, done.stdout + done.stderr


def test_finally_blocks_there_run_at_exit():
    check_script(START + """
def careful(begun):
    try:
        begun.send(None)
        microthread.sleep(100)
    finally:
        microthread.sleep(0.2)
        print("ok", flush=True)
one = create()
receiver, sender = create_channel()
handle = one.spawn(careful, sender)
receiver.recv()
""")


def test_exit_handler_that_comes_later_cannot_create():
    check_script(START + """
import atexit
def late():
    try:
        create()
    except RuntimeError as error:
        assert "the process is ending" in str(error)
        print("ok")
microthread._hooks.atexit.unregister(microthread._hooks.shut_down)
atexit.register(late)
atexit.register(microthread._hooks.shut_down)
one = create()
""")


def test_fork_once_all_are_closed():
    check_script(START + """
import os, warnings
from microthread.interpreters import InterpreterClosed, list_all
warnings.simplefilter("ignore")  # of an OS thread that is just ending
one = create()
one.close()
pid = os.fork()
if pid == 0:
    try:
        one.call(nap)
    except InterpreterClosed:
        assert len(list_all()) == 1
        two = create()
        assert two.call(len, "abc") == 3
        print("child", flush=True)
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
print("ok")
""", expected="child\nok\n")


def test_subprocesses_of_either_side():
    check_script(START + """
import subprocess
def run():
    import subprocess, sys
    return subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True).stdout
one = create()
assert one.call(run) == run() == b"5\\n"
print("ok")
""")
