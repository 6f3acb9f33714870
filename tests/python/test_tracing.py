# SPDX-License-Identifier: MIT
"""sys.settrace, sys.setprofile and sys.monitoring see each micro-thread's events, and only once."""
import sys

import pytest

from microthread import deferred, sleep, spawn, yield_now
from support import check_script


def all_values(*functions):
    return [thread.wait() for thread in [spawn(function) for function in functions]]


def test_trace_function_sees_its_micro_threads_lines():
    events = []

    def tracer(frame, event, arg):
        if frame.f_code is work.__code__:
            events.append((frame.f_locals["n"], event))
        return tracer

    def work(n):
        yield_now()
        return n

    sys.settrace(tracer)
    try:
        some = [spawn(work, n) for n in range(2)]
        for thread in some:
            thread.wait()
    finally:
        sys.settrace(None)
    for n in range(2):
        assert [e for k, e in events if k == n] == ["call", "line", "line", "return"]


def test_trace_function_may_switch():
    seen = []

    def tracer(frame, event, arg):
        if frame.f_code is work.__code__ and event == "line":
            yield_now()
            seen.append(frame.f_locals["n"])
        return tracer

    def work(n):
        a = n
        b = a
        return b

    sys.settrace(tracer)
    try:
        values = all_values(lambda: work(1), lambda: work(2))
    finally:
        sys.settrace(None)
    assert values == [1, 2] and sorted(seen) == [1, 1, 1, 2, 2, 2]


def test_profile_function_sees_calls_and_returns_in_pairs():
    events = []

    def profiler(frame, event, arg):
        if frame.f_code is work.__code__:
            events.append((frame.f_locals["n"], event))

    def work(n):
        yield_now()
        yield_now()

    sys.setprofile(profiler)
    try:
        all_values(*[lambda n=n: work(n) for n in range(3)])
    finally:
        sys.setprofile(None)
    for n in range(3):
        mine = [event for k, event in events if k == n and event in ("call", "return")]
        assert mine == ["call", "return"]


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="CPython 3.12 and later")
def test_monitoring_sees_every_line_of_each():
    monitoring, lines = sys.monitoring, []

    def work(n):
        yield_now()
        yield_now()
        return n

    first = work.__code__.co_firstlineno
    monitoring.use_tool_id(4, "test")
    try:
        monitoring.register_callback(4, monitoring.events.LINE,
                                     lambda code, line: lines.append(line - first))
        monitoring.set_local_events(4, work.__code__, monitoring.events.LINE)
        all_values(lambda: work(1), lambda: work(2))
        monitoring.set_local_events(4, work.__code__, 0)
    finally:
        monitoring.free_tool_id(4)
    assert sorted(lines) == [1, 1, 2, 2, 3, 3]


def test_tracing_switched_on_while_parked_reaches_those_that_go_on():
    events = []

    def tracer(frame, event, arg):
        if frame.f_code is inner.__code__:
            events.append(event)
        return tracer

    def inner():
        return 1

    gate = deferred()
    thread = spawn(lambda: gate.wait() or inner())
    sleep(0.001)
    sys.settrace(tracer)
    try:
        gate.callback(None)
        assert thread.wait() == 1
    finally:
        sys.settrace(None)
    assert events == ["call", "line", "return"]


@pytest.mark.parametrize("switch", ["sys.settrace(tracer)", "sys.setprofile(tracer)", "monitor()"])
@pytest.mark.parametrize("end", ["gate.callback(1)", "thread.throw(ValueError)", "thread.cancel()"])
def test_tracing_switched_on_while_parked_survives_any_end_of_the_wait(switch, end):
    if switch == "monitor()" and not hasattr(sys, "monitoring"):
        pytest.skip("CPython 3.12 and later")
    check_script(f"""
        import contextlib, sys
        from microthread import deferred, sleep, spawn
        def tracer(frame, event, arg):
            return tracer
        def monitor():
            monitoring = sys.monitoring
            monitoring.use_tool_id(3, "test")
            wanted = "RAISE RERAISE PY_UNWIND LINE PY_RETURN CALL EXCEPTION_HANDLED".split()
            for name in wanted:
                monitoring.register_callback(3, getattr(monitoring.events, name), lambda *args: None)
            monitoring.set_events(3, sum(getattr(monitoring.events, name) for name in wanted))
        gate, log = deferred(), []
        def inner():
            with contextlib.suppress(KeyError):
                gate.wait()
        def work():
            try:
                inner()
            except LookupError:
                log.append("never")
            finally:
                log.append("left")
        thread = spawn(work)
        sleep(0.001)
        {switch}
        {end}
        thread._join()
        assert thread.cancelled() or type(thread.exception()) in (type(None), ValueError)
        assert log == ["left"]
        print("ok")
    """)
