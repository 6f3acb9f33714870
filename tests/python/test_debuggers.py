# SPDX-License-Identifier: MIT
"""pdb, faulthandler, traceback and sys._current_frames in micro-threads, with others parked."""
import sys
import threading
import traceback

import pytest

from microthread import deferred, micro_thread, spawn, yield_now
from support import check_script, run_script


def parked(count=3):
    """Some that wait, several frames deep, and what ends their waits."""
    gate = deferred()

    def inner():
        gate.wait()

    def outer():
        inner()

    some = [spawn(outer) for _ in range(count)]
    yield_now()
    return gate, some


def let_go(gate, some):
    gate.callback(None)
    for thread in some:
        thread.wait()


# ---- pdb ----

PDB = """
    import pdb
    from microthread import micro_thread, sleep, spawn, yield_now
    log = []
    def other():
        for n in range(4):
            log.append(n)
            yield_now()
    def callee(n):
        sleep(0.001)
        return n + 1
    def work(n):
        pdb.Pdb(nosigint=True, readrc=False).set_trace()
        total = callee(n)
        yield_now()
        total += callee(total)
        return total
    beside = spawn(other)
    thread = micro_thread(work, (1,), name="work")
    thread.start()
    print("value", thread.wait())
    beside.wait()
    print("log", log)
"""


def run_pdb(*commands):
    done = run_script(PDB, stdin="\n".join(commands) + "\n")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pdb_steps_over_waits_and_stays_in_its_micro_thread():
    out = run_pdb("next", "next", "next", "p ('total is', total)", "where", "continue")
    assert "('total is', " in out and "value 5" in out and "log [0, 1, 2, 3]" in out
    assert "(16)other()" not in out and "> <string>(7)other()" not in out


def test_pdb_steps_into_a_call_and_up_again():
    out = run_pdb("step", "step", "step", "p ('n is', n)", "up", "p ('total' in dir())", "return",
                  "continue")
    assert "--Call--" in out and "('n is', 1)" in out and "value 5" in out


def test_pdb_break_in_another_micro_thread_is_hit(tmp_path):
    script = tmp_path / "script.py"  # pdb wants the text of a line that it breaks at
    script.write_text("""\
import pdb
from microthread import spawn, yield_now
log = []
def note(n):
    log.append(n)
def other():
    for n in range(4):
        note(n)
        yield_now()
def work():
    pdb.Pdb(nosigint=True, readrc=False).set_trace()
    yield_now()
    return "worked"
beside, thread = spawn(other), spawn(work)
print(thread.wait())
beside.wait()
print("log", log)
""")
    done = run_script(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')",
                      stdin="break note, n == 2\ncontinue\np ('stopped at', n)\nclear 1\ncontinue\n")
    assert done.returncode == 0, done.stderr
    assert "('stopped at', 2)" in done.stdout and "script.py(5)note()" in done.stdout
    assert "worked" in done.stdout and "log [0, 1, 2, 3]" in done.stdout


def test_breakpoint_of_two_that_take_turns():
    done = run_script("""
        from microthread import spawn, yield_now
        def work(n):
            yield_now()
            breakpoint()
            yield_now()
            return n
        print([thread.wait() for thread in [spawn(work, n) for n in range(2)]])
    """, stdin="p ('n is', n)\ncontinue\n" * 2, env={"PYTHONBREAKPOINT": "pdb.set_trace"})
    assert done.returncode == 0, done.stderr
    assert "('n is', 0)" in done.stdout and "('n is', 1)" in done.stdout and "[0, 1]" in done.stdout


def test_post_mortem_of_what_a_wait_raised():
    done = run_script("""
        import pdb
        from microthread import spawn
        def work(secret):
            return 1 / 0
        try:
            spawn(work, 42).wait()
        except ZeroDivisionError as error:
            pdb.post_mortem(error.__traceback__)
    """, stdin="p ('secret is', secret)\nquit\n")
    assert "('secret is', 42)" in done.stdout, done.stderr


# ---- faulthandler, traceback, frames ----


def test_faulthandler_shows_the_running_one_and_survives_the_parked(tmp_path):
    import faulthandler

    gate, some = parked()

    def running():
        with open(tmp_path / "out", "w+", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read()

    text = spawn(running).wait()
    let_go(gate, some)
    assert "in running" in text and "in inner" not in text


def test_faulthandler_from_its_watchdog_survives_any_moment():
    check_script("""
        import faulthandler, os, time
        from microthread import deferred, sleep, spawn, yield_now
        gate = deferred()
        parked = [spawn(gate.wait) for _ in range(5)]
        def work():
            end = time.monotonic() + 0.05
            while time.monotonic() < end:
                yield_now()
        null = open(os.devnull, "w")
        for _ in range(3):
            faulthandler.dump_traceback_later(0.01, repeat=True, file=null)
            some = [spawn(work) for _ in range(3)]
            for thread in some:
                thread.wait()
            sleep(0.03)
            faulthandler.cancel_dump_traceback_later()
        print("ok")
    """)


def test_current_frames_are_of_those_that_run():
    gate, some = parked()
    ready, leave = threading.Event(), threading.Event()

    def elsewhere():
        def work():
            ready.set()
            leave.wait()

        spawn(work).wait()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    ready.wait()

    def running():
        return sys._current_frames()

    frames = spawn(running).wait()
    names = {ident: [entry.name for entry in traceback.extract_stack(frame)]
             for ident, frame in frames.items()}
    leave.set()
    thread.join()
    let_go(gate, some)
    assert names[threading.get_ident()] == ["running"]
    assert "work" in names[thread.ident] and "elsewhere" not in names[thread.ident]


def test_print_stack_is_of_the_running_one_alone():
    gate, some = parked()

    def running():
        return [entry.name for entry in traceback.extract_stack()]

    def outer():
        return running()

    assert spawn(outer).wait() == ["outer", "running"]
    let_go(gate, some)


def test_suspended_one_is_walked_by_its_frame():
    gate, some = parked(1)
    names = [frame.f_code.co_name for frame, _ in traceback.walk_stack(some[0].frame)]
    assert names == ["inner", "outer"]
    assert list(some[0].frame.f_back.f_locals) == ["inner"]
    let_go(gate, some)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="CPython 3.12 and later")
def test_monitoring_switched_on_while_parked_sees_what_is_called_then():
    monitoring, seen = sys.monitoring, []

    def inner():
        return 1

    gate = deferred()
    thread = spawn(lambda: gate.wait() or inner())
    yield_now()
    monitoring.use_tool_id(4, "test")
    try:
        monitoring.register_callback(4, monitoring.events.PY_START,
                                     lambda code, offset: seen.append(code))
        monitoring.set_events(4, monitoring.events.PY_START)
        gate.callback(None)
        assert thread.wait() == 1
        monitoring.set_events(4, 0)
    finally:
        monitoring.free_tool_id(4)
    assert inner.__code__ in seen


def test_f_trace_of_a_parked_frame_is_called_for_its_lines():
    lines = []

    def tracer(frame, event, arg):
        lines.append((frame.f_code.co_name, event))
        return tracer

    gate = deferred()

    def work():
        gate.wait()
        return 1

    thread = micro_thread(work)
    thread.start()
    yield_now()
    sys.settrace(tracer)
    try:
        thread.frame.f_trace = tracer
        gate.callback(None)
        assert thread.wait() == 1
    finally:
        sys.settrace(None)
    assert [event for name, event in lines if name == "work"] == ["line", "return"]


def test_profile_function_sees_the_return_of_a_frame_that_was_parked():
    seen = []

    def profiler(frame, event, arg):
        seen.append((frame.f_code.co_name, event))

    gate, some = parked()
    sys.setprofile(profiler)
    try:
        let_go(gate, some)
    finally:
        sys.setprofile(None)
    assert seen.count(("inner", "return")) == seen.count(("outer", "return")) == len(some)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 does not tell that monitoring changed")
def test_monitoring_sees_the_lines_of_a_frame_that_was_parked():
    monitoring, lines = sys.monitoring, []
    gate = deferred()

    def work():
        gate.wait()
        return 1

    thread = spawn(work)
    yield_now()
    monitoring.use_tool_id(4, "test")
    try:
        monitoring.register_callback(4, monitoring.events.LINE,
                                     lambda code, line: lines.append((code, line)))
        monitoring.set_events(4, monitoring.events.LINE)
        gate.callback(None)
        assert thread.wait() == 1
        monitoring.set_events(4, 0)
    finally:
        monitoring.free_tool_id(4)
    assert (work.__code__, work.__code__.co_firstlineno + 2) in lines


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="CPython 3.12 and later")
def test_tools_of_others_are_left_alone_when_tracing_begins():
    monitoring = sys.monitoring
    for tool in range(6):
        if monitoring.get_tool(tool) is None:
            monitoring.use_tool_id(tool, f"test {tool}")
    names = [monitoring.get_tool(tool) for tool in range(6)]
    try:
        for _ in range(2):
            gate, some = parked()
            sys.setprofile(lambda *args: None)
            try:
                let_go(gate, some)
            finally:
                sys.setprofile(None)
            assert [monitoring.get_tool(tool) for tool in range(6)] == names
            if names[4] is not None:
                monitoring.free_tool_id(4)
                names[4] = None
    finally:
        for tool in range(6):
            if (monitoring.get_tool(tool) or "").startswith("test"):
                monitoring.free_tool_id(tool)
