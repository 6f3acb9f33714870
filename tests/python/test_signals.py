# SPDX-License-Identifier: MIT
"""Signal handlers and Ctrl-C while everything waits, and while something runs."""
import pytest

from support import check_script, run_script

START = """
    import os, signal, threading, time, warnings
    warnings.simplefilter("ignore")
    from microthread import *
    from microthread import current, deferred, micro_pipe, sleep, spawn, yield_now
""".replace("    from microthread import *\n", "")

# Another process sends it, when everything waits: only then does this process sleep.
SENDER = START + """
    def state_of(pid):
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def send_later(signum):
        pid = os.getpid()
        if not os.fork():
            try:
                while state_of(pid) not in "SZ":  # Z: it has ended
                    time.sleep(0.002)
                os.kill(pid, signum)
            finally:
                os._exit(0)

    # The same for one that does not sleep.
    def send_to_busy(signum):
        begun, begin = os.pipe()
        pid = os.getpid()
        if not os.fork():
            os.read(begun, 1)
            os.kill(pid, signum)
            os._exit(0)
        return lambda: os.write(begin, b"x")
"""


def check(body, expected="ok\n"):
    check_script(SENDER + body, expected)


@pytest.mark.parametrize("wait", ["sleep(60)", "spawn(sleep, 60).wait()", "deferred().wait(60)",
                                  "micro_pipe().take(60)"])
def test_handler_runs_while_everything_waits_and_the_wait_goes_on(wait):
    check(f"""
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(current()))
    send_later(signal.SIGUSR1)
    def watch():
        while not seen:
            sleep(0.002)
        print("ok", flush=True)
        os._exit(0)
    def idle():
        sleep(60)
    spawn(watch)
    spawn(idle)
    {wait}
    """)


def test_handler_runs_while_nothing_has_a_timer():
    check("""
    d = deferred()
    keep = os.pipe()
    import microthread
    spawn(microthread.wait_readable, keep[0])
    signal.signal(signal.SIGUSR1, lambda number, frame: d.callback("ok"))
    send_later(signal.SIGUSR1)
    print(d.wait())
    """)


def test_handler_may_wait_and_spawn():
    check("""
    d = deferred()
    def handler(number, frame):
        sleep(0.001)
        micro_pipe(1).put(1)
        value = spawn(lambda: sleep(0.001) or "ok").wait()
        d.callback(value)
    signal.signal(signal.SIGUSR1, handler)
    send_later(signal.SIGUSR1)
    print(d.wait(60))
    """)


def test_exception_of_a_handler_comes_out_of_mains_wait():
    check("""
    def handler(number, frame):
        raise LookupError("handler")
    signal.signal(signal.SIGUSR1, handler)
    send_later(signal.SIGUSR1)
    spawn(sleep, 60)
    try:
        sleep(60)
    except LookupError as error:
        print("ok")
        os._exit(0)
    """)


def test_wait_that_a_handler_ended_can_be_made_again():
    check("""
    pipe = micro_pipe()
    def handler(number, frame):
        raise LookupError("handler")
    signal.signal(signal.SIGUSR1, handler)
    send_later(signal.SIGUSR1)
    keep = spawn(sleep, 60)
    try:
        pipe.take()
    except LookupError:
        pipe.put("ok")
        print(pipe.take())
    """)


def test_handler_in_mains_wait_may_cancel_main():
    check("""
    from microthread import Cancelled
    signal.signal(signal.SIGUSR1, lambda number, frame: current().cancel())
    send_later(signal.SIGUSR1)
    try:
        sleep(60)
    except Cancelled:
        print("ok")
    """)


def test_handler_in_mains_wait_may_throw_into_main():
    check("""
    main = current()
    signal.signal(signal.SIGUSR1, lambda number, frame: main.throw(KeyError))
    send_later(signal.SIGUSR1)
    try:
        sleep(60)
    except KeyError:
        print("ok")
    """)


def test_handler_that_ends_the_wait_it_interrupts():
    check("""
    pipe = micro_pipe()
    signal.signal(signal.SIGUSR1, lambda number, frame: (pipe.put("ok"), sleep(0.001)))
    send_later(signal.SIGUSR1)
    spawn(sleep, 60)
    print(pipe.take())
    """)


def test_value_handed_over_before_the_handler_raised_is_not_lost():
    check("""
    pipe = micro_pipe()
    def handler(number, frame):
        pipe.put("item")
        raise LookupError
    signal.signal(signal.SIGUSR1, handler)
    send_later(signal.SIGUSR1)
    spawn(sleep, 60)
    got = []
    try:
        got.append(pipe.take())
        sleep(1)
    except LookupError:
        print("ok" if got == ["item"] or len(pipe) == 1 else "lost")
    """)


def test_keyboard_interrupt_while_everything_waits_reaches_main():
    done = run_script(SENDER + """
    def work():
        try:
            sleep(60)
        finally:
            print("left")
    spawn(work)
    send_later(signal.SIGINT)
    try:
        spawn(sleep, 60).wait()
    except KeyboardInterrupt:
        print("main")
        raise
    """)
    assert done.stdout == "main\nleft\n" and done.returncode in (-2, 130)
    assert done.stderr.count("KeyboardInterrupt") == 1


def test_keyboard_interrupt_in_a_busy_micro_thread_reaches_main():
    check("""
    begin = send_to_busy(signal.SIGINT)
    def busy():
        try:
            begin()
            while True:
                pass
        finally:
            print("left")
    spawn(busy)
    try:
        sleep(60)
    except KeyboardInterrupt:
        print("ok")
    """, "left\nok\n")


def test_keyboard_interrupt_raised_in_a_micro_thread_goes_to_main():
    check("""
    def work():
        raise KeyboardInterrupt
    thread = spawn(work)
    try:
        sleep(60)
    except KeyboardInterrupt:
        print("ok")
    assert thread.done()
    """)


def test_keyboard_interrupt_while_all_yield():
    check("""
    def busy():
        while True:
            yield_now()
    some = [spawn(busy) for _ in range(3)]
    begin = send_to_busy(signal.SIGINT)
    try:
        begin()
        while True:
            yield_now()
    except KeyboardInterrupt:
        print("ok")
    """)


def test_many_signals_are_all_handled():
    check("""
    count = 0
    handled, handle = os.pipe()
    def handler(number, frame):
        global count
        count += 1
        os.write(handle, b"x")  # two that come at once are one
    signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR2, lambda number, frame: d.callback("ok"))
    d = deferred()
    pid = os.getpid()
    if not os.fork():
        for _ in range(200):
            os.kill(pid, signal.SIGUSR1)
            os.read(handled, 1)
        os.kill(pid, signal.SIGUSR2)
        os._exit(0)
    spawn(sleep, 60)
    print(d.wait())
    assert count == 200, count
    os._exit(0)
    """.replace("print(d.wait())", "print(d.wait(), flush=True)"))


def test_alarm_wakes_a_sleeping_main():
    check("""
    def handler(number, frame):
        raise TimeoutError("alarm")
    signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        sleep(60)
    except TimeoutError:
        print("ok")
    """)


def test_signal_while_the_main_os_thread_polls_and_another_runs():
    check("""
    stop = []
    def busy():
        while not stop:
            pass
    thread = threading.Thread(target=busy)
    thread.start()
    d = deferred()
    signal.signal(signal.SIGUSR1, lambda number, frame: d.callback("ok"))
    send_later(signal.SIGUSR1)
    print(d.wait())
    stop.append(1)
    thread.join()
    """)


def test_wakeup_descriptor_of_the_program_keeps_working():
    check("""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(1))
    send_later(signal.SIGUSR1)
    import microthread
    microthread.wait_readable(reader, 60)
    assert os.read(reader, 1) == bytes([signal.SIGUSR1])
    yield_now()
    assert seen == [1]
    assert signal.set_wakeup_fd(-1) == writer
    print("ok")
    """)


def test_wakeup_fd_of_another_is_given_back_after_use():
    check("""
    sleep(0.001)
    left, right = os.pipe2(os.O_NONBLOCK)
    assert signal.set_wakeup_fd(right) == -1
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    os.kill(os.getpid(), signal.SIGUSR1)
    sleep(0.001)
    assert os.read(left, 10) == bytes([signal.SIGUSR1])
    assert signal.set_wakeup_fd(-1, warn_on_full_buffer=True) == right
    import asyncio
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, loop.stop)
        loop.remove_signal_handler(signal.SIGUSR1)
    asyncio.run(main())
    standard = getattr(signal.set_wakeup_fd, "__wrapped__", None)
    from microthread import _core
    if standard:
        assert standard(-1) == _core._signal_fd() != -1
    print("ok")
    """)


def test_signal_on_the_way_into_a_poll_is_heard():
    """The other process sends it as soon as it has its echo, which is when we begin to poll."""
    check_script("""
        import os, signal, time
        from microthread import spawn
        from microthread.socket import socketpair
        ours, theirs = socketpair()
        heard_out, heard_in = os.pipe()
        server = os.getpid()
        ROUNDS = 20000
        child = os.fork()
        if child == 0:
            def receive():
                until = time.monotonic() + 60
                while time.monotonic() < until:
                    try:
                        return os.read(fd, 1)
                    except BlockingIOError:
                        pass
                os._exit(1)
            fd = theirs.detach()
            enough = time.monotonic() + 15
            for number in range(ROUNDS):
                if time.monotonic() > enough:
                    break
                os.write(fd, b"x")
                receive()
                for _ in range(number % 50):
                    pass
                os.kill(server, signal.SIGUSR1)
                receive()
            os._exit(0)
        theirs.close()
        signal.signal(signal.SIGUSR1, lambda signum, frame: ours.send(b"!"))
        def echo():
            while data := ours.recv(1):
                ours.send(data)
        spawn(echo).wait()
        print("ok" if os.waitpid(child, 0)[1] == 0 else "a signal was lost")
    """, timeout=180)
