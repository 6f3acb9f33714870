# SPDX-License-Identifier: MIT
"""patch.warn_blocking(): a call that blocks the loop is named, with its line and its stack."""
import pytest

from support import check_script, run_script

START = """
    import _thread, os, select, socket, threading, time, warnings
    import microthread._workers
    from microthread import patch
    from microthread._patch import blocking
    blocking_sleep = (time.sleep,)
    real_lock = (_thread.allocate_lock(),)
    left, right = plain = socket.socketpair()
    read, write = os.pipe()
    patch.all(**{name: False for name in ("os", "select") if name in patch.report().left})
    watches = []
    class Watch(blocking.Watch):
        def __init__(self):
            super().__init__()
            watches.append(self)
    blocking.Watch = Watch
    patch.warn_blocking(True)
    microthread.spawn(microthread.sleep, 600)
    def later(fn, *args):  # when the next watched call has begun
        def job():
            while watches[0].began is None:
                blocking_sleep[0](0.001)
            blocking_sleep[0](0.05)
            fn(*args)
        microthread._workers.submit(job)
    microthread.run_blocking(int)
    def caller(fn, *args):
        return fn(*args)      # the line
"""


@pytest.mark.parametrize("call, name", [
    ("caller(blocking_sleep[0], 0.03)", "time.sleep"),
    ("later(right.send, b'x'); caller(left.recv, 1)", "socket.socket.recv"),
    ("real_lock[0].acquire(); later(real_lock[0].release); caller(real_lock[0].acquire)",
     "_thread.lock.acquire"),
    ("later(os.write, write, b'x'); import posix; caller(posix.read, read, 1)", "os.read"),
])
def test_blocking_call_is_named_with_its_stack(call, name):
    done = run_script(START + f"""
    def outer():
        {call}
    outer()
    """)
    assert done.returncode == 0, done.stderr
    assert f"BlockingWarning: {name}() blocked main and all other micro-threads for" in done.stderr
    assert "in caller" in done.stderr and "in outer" in done.stderr


def test_what_waits_properly_is_not_named():
    check_script(START + """
    warnings.simplefilter("error")
    time.sleep(0.02)
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.02, lock.release).start()
    lock.acquire()
    a, b = socket.socketpair()
    threading.Timer(0.02, b.send, (b"x",)).start()
    a.recv(1)
    microthread.run_blocking(blocking_sleep[0], 0.02)
    left.close(), right.close(), a.close(), b.close()
    print("ok")
    """)


def test_alone_or_off_nothing_is_said():
    check_script("""
    import sys, time, warnings
    sleep = (time.sleep,)
    warnings.simplefilter("error")
    from microthread import patch, spawn
    import microthread
    patch.all()
    patch.warn_blocking()
    sleep[0](0.02)
    spawn(microthread.sleep, 60)
    try:
        sleep[0](0.02)
    except patch.BlockingWarning:
        pass
    else:
        raise AssertionError
    patch.warn_blocking(False)
    sleep[0](0.02)
    assert sys.getprofile() is None
    patch.warn_blocking(False)
    print("ok")
    """)
