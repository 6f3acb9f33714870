# SPDX-License-Identifier: MIT
"""microthread.signal: pause and sigwait let others run. In children: signals are the process's."""
import pytest

from support import check_script

START = """
    import os, signal as standard, threading, time
    from concurrent.futures import CancelledError
    from microthread import signal, sleep, spawn, yield_now
    USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2
    seen, ticks = [], []
    def kill(number, seconds=0.01):
        spawn(lambda: (sleep(seconds), os.kill(os.getpid(), number)))
    def kill_from_elsewhere(number, seconds=0.01):
        # Not before the main micro-thread waits and this OS thread sleeps: handlers run in whoever runs.
        pid, (reader, writer) = os.getpid(), os.pipe()
        if not os.fork():
            os.read(reader, 1)
            while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "S":
                pass
            os.kill(pid, number)
            os._exit(0)
        spawn(lambda: (sleep(seconds), os.write(writer, b"x")))
    signal.signal(USR1, lambda number, frame: seen.append(number))
"""


def check(body):
    check_script(START + body.rstrip() + "\n    print('ok')\n")


@pytest.mark.parametrize("kill", ["kill", "kill_from_elsewhere"])
def test_pause_returns_when_a_handler_has_run(kill):
    check(f"""
    def tick():
        while True:
            sleep(0.001)
            ticks.append(1)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before, warn_on_full_buffer=False)
    ticker = spawn(tick)
    {kill}(USR1)
    signal.pause()
    assert seen == [USR1] and ticks, (seen, ticks)
    assert signal.set_wakeup_fd(before, warn_on_full_buffer=False) == before
    """)


def test_exception_of_a_handler_comes_out_of_pause():
    check("""
    def handler(number, frame):
        raise LookupError
    signal.signal(USR1, handler)
    kill_from_elsewhere(USR1)
    try:
        signal.pause()
    except LookupError:
        seen.append("raised")
    assert seen == ["raised"]
    """)


def test_several_pause_and_one_is_cancelled():
    check("""
    pausing = [spawn(signal.pause) for _ in range(3)]
    yield_now()
    pausing.pop(0).cancel()
    sleep(0.001)
    kill(USR1)
    for thread in pausing:
        thread.wait()
    assert len(os.listdir("/proc/self/fd")) < 15
    """)


def test_pause_passes_on_to_the_wakeup_descriptor_of_the_program():
    check("""
    r, w = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(w)
    kill(USR1)
    signal.pause()
    assert os.read(r, 10) == bytes([USR1])
    assert signal.set_wakeup_fd(-1) == w
    """)


def test_pause_in_another_os_thread_is_the_standard_one():
    check("""
    may_end = threading.Event()
    def other():
        signal.pause()
        seen.append("other")
        may_end.wait()
    thread = threading.Thread(target=other)
    thread.start()
    while "other" not in seen:  # the first ones may come before it pauses
        signal.pthread_kill(thread.ident, USR1)
        time.sleep(0.01)
    may_end.set()
    """)


@pytest.mark.parametrize("is_blocked", [True, False])
@pytest.mark.parametrize("wait", [
    "signal.sigwait({USR1, USR2})", "signal.sigwaitinfo([USR1, USR2]).si_signo",
    "signal.sigtimedwait((USR1, USR2), 60).si_signo"])
def test_waiting_for_a_signal(wait, is_blocked):
    check(f"""
    if {is_blocked}:
        signal.pthread_sigmask(signal.SIG_BLOCK, [USR1, USR2])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    def tick():
        while True:
            sleep(0.001)
            ticks.append(1)
    spawn(tick)
    kill_from_elsewhere(USR2)
    assert {wait} == USR2 and ticks
    kill(USR1)
    assert {wait} == USR1 and not seen
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    """)


def test_signal_that_is_pending_already():
    check("""
    signal.pthread_sigmask(signal.SIG_BLOCK, [USR1])
    os.kill(os.getpid(), USR1)
    assert signal.sigwait([USR1]) is signal.Signals.SIGUSR1
    """)


def test_time_limits_of_sigtimedwait():
    check("""
    for limit in (0, 0.01):
        assert signal.sigtimedwait([USR1], limit) is None
    for bad in (-1, "x", None):
        try:
            signal.sigtimedwait([USR1], bad)
        except (TypeError, ValueError):
            seen.append(bad)
    for bad in ([0], [99], ["x"], 3):
        for call in (signal.sigwait, signal.sigwaitinfo):
            try:
                call(bad)
            except (TypeError, ValueError):
                seen.append(bad)
    assert len(seen) == 11, seen
    """)


def test_cancelled_waiter_leaves_the_signal():
    check("""
    before = len(os.listdir("/proc/self/fd"))
    waiter = spawn(signal.sigwait, [USR1])
    sleep(0.005)
    waiter.cancel()
    sleep(0.001)
    assert len(os.listdir("/proc/self/fd")) == before
    os.kill(os.getpid(), USR1)
    sleep(0.001)
    assert seen == [USR1]
    """)
