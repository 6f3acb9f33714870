# SPDX-License-Identifier: MIT
"""dump() over all interpreters."""
import sys

import pytest

from support import check_script, run_script

START = """
import io, sys, microthread
from microthread import dump, interpreters, spawn
def dumped():
    import io, microthread
    file = io.StringIO()
    microthread.dump(file)
    return file.getvalue()
def dumped_with(*words):
    # Another OS thread gets there when it gets there; the process has a time limit.
    while any(word not in (text := dumped()) for word in words):
        pass
    return text
def stay_there(report):
    import microthread
    report.send("in")
    microthread.sleep(60)
ran = []
spawn(ran.append, 1)
microthread.micro_pipe().put(1)
is_stress = bool(ran)  # a build that yields at every call
microthread.sleep(0)
ran.clear()
report, report_in = interpreters.create_channel()
one, two = interpreters.create(), interpreters.create()
one.spawn(stay_there, report_in)
assert report.recv() == "in"
"""


def test_micro_threads_of_all_interpreters_are_shown():
    check_script(START + """
spawn(ran.append, 1)
text = dumped_with("waits for sleep")
assert not ran or is_stress  # nobody else ran meanwhile
main, first, second = (text.index(f"interpreter {n}\\n") for n in range(3))
assert main < first < second
assert "in dumped" in text[main:first] and "in stay_there" in text[first:second]
assert "waits for sleep" in text[first:second] and "stay_there\\n" not in text[second:]
there = one.call(dumped)
assert there.startswith("interpreter 1\\n") and "in stay_there" in there and "interpreter 2\\n" in there
two.close()
assert "interpreter 2\\n" not in dumped()
print("ok")
""")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="one GIL")
def test_busy_interpreter_is_said_to_be_busy():
    check_script(START + """
def spin(report):
    report.send("in")
    while True:
        pass
two.spawn(spin, report_in)
assert report.recv() == "in"
text = dumped_with("interpreter 2\\nit is busy: no answer within 1 s", "in stay_there")
print("ok")
""")


def test_signal_dumps_other_interpreters_too():
    done = run_script(START + """
import os, signal
from microthread import _seeing
_seeing.PATIENCE = 50  # the machine may be slow
microthread.dump_on_signal(signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR1)
microthread.sleep(0.01)
""")
    assert done.returncode == 0 and "interpreter 1\n" in done.stderr and "in stay_there" in done.stderr


def test_dump_under_patch_lets_nobody_run_either():
    check_script(START + """
from microthread import _seeing, patch
_seeing.PATIENCE = 50  # the machine may be slow
patch.time()
spawn(ran.append, 1)
assert "in stay_there" in dumped() and (not ran or is_stress)
patch.undo()
print("ok")
""")


def test_dump_lets_nobody_run_however_many_calls_went_ahead_before():
    check_script(START + """
from microthread import _seeing
_seeing.PATIENCE = 50  # the machine may be slow
pipe = microthread.micro_pipe()
for count in range(250, 258):  # the 256th gives way
    microthread.sleep(0)
    ran.clear()
    for number in range(count):
        pipe.put(number)
    spawn(ran.append, 1)
    dumped()
    assert not ran or is_stress, count
print("ok")
""")
