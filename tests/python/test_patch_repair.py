# SPDX-License-Identifier: MIT
"""Late patching: what was imported or made before it works, or report() says why not."""
from support import check_script

EARLY = """
    import contextlib, functools, logging, queue, socket, sys, threading, time
    from socket import socket as early_socket
    from threading import Lock as EarlyLock, local as early_local
    from time import sleep as early_sleep
    def default(seconds, wait=time.sleep, *, again=time.sleep):
        wait(seconds); again(seconds)
    class Config:
        wait = time.sleep
    def enclosing(wait=None):
        return lambda: wait
"""


def test_copies_in_modules_classes_and_defaults_are_repaired():
    check_script(EARLY + """
    real = early_sleep
    from microthread import _core, patch, socket as ours
    patch.all()
    assert early_sleep is time.sleep is _core.sleep and early_socket is socket.socket is ours.socket
    assert EarlyLock is threading.Lock and early_local is threading.local
    assert default.__defaults__ == (_core.sleep,) and default.__kwdefaults__ == {"again": _core.sleep}
    assert Config.wait is _core.sleep and Config().wait is _core.sleep
    default(0)
    patch.undo()
    assert early_sleep is time.sleep is Config.wait is default.__defaults__[0] is not _core.sleep
    assert default.__kwdefaults__ == {"again": early_sleep}
    print("ok")
    """)


def test_copies_elsewhere_are_reported():
    check_script(EARLY + """
    table = {"wait": time.sleep}
    partial = functools.partial(time.sleep, 0)
    class Sub(threading.local): pass
    class Sock(socket.socket): pass
    s = socket.socket()
    from microthread import patch
    patch.all()
    text = str(patch.report())
    for line in ("a dict refers to the original time.sleep",
                 "functools.partial() refers to the original" if 0 else "a functools.partial object refers",
                 "__main__.Sub is a class made earlier of _thread._local",
                 "__main__.Sock is a class made earlier of socket.socket",
                 "a socket.socket object made earlier blocks as before"):
        assert line in text, (line, text)
    s.close()
    print("ok")
    """)


def test_free_locks_are_replaced_everywhere_at_once():
    check_script(EARLY + """
    lock, rlock, condition, event = threading.Lock(), threading.RLock(), threading.Condition(), threading.Event()
    also = [lock]
    class Holder:
        def __init__(self, lock):
            self.lock = lock
            self.take = lock.acquire
    holder = Holder(lock)
    closure = (lambda x: lambda: x)(lock)
    jobs = queue.Queue()
    real = type(lock), type(rlock)
    from microthread import Lock, RLock, patch, spawn, sleep
    patch.all()
    assert type(lock) is Lock and also[0] is lock is holder.lock is closure() and type(rlock) is RLock
    assert holder.take.__self__ is lock
    assert type(condition._lock) is RLock and condition.acquire.__self__ is condition._lock
    assert jobs.mutex is jobs.not_empty._lock is jobs.not_full._lock and type(jobs.mutex) is Lock
    assert type(logging._lock) is RLock
    log = []
    def user(name):
        with rlock, lock:
            log.append(name); sleep(0.002); log.append(name)
    a, b = spawn(user, "a"), spawn(user, "b")
    a.wait(), b.wait()
    assert log == ["a", "a", "b", "b"]
    spawn(lambda: (sleep(0.002), jobs.put(7)))
    assert jobs.get() == 7
    spawn(lambda: (sleep(0.002), event.set()))
    assert event.wait(5)
    patch.undo()
    assert (type(lock), type(rlock)) == real and also[0] is lock is holder.lock is closure()
    assert holder.take.__self__ is lock and jobs.mutex is jobs.not_empty._lock
    print("ok")
    """)


def test_lock_in_an_unknown_place_is_left_whole_and_reported():
    check_script(EARLY + """
    lock = threading.Lock()
    fixed = (lock,)
    frozen = threading.RLock()
    def generator(x):
        yield
    running = generator(frozen)
    next(running)
    from microthread import Lock, RLock, patch
    patch.all()
    assert lock is fixed[0] and not isinstance(lock, Lock) and not isinstance(frozen, RLock)
    text = str(patch.report())
    assert "the _thread.lock of __main__.lock, made earlier, is used in a place that cannot" in text or \\
        "the _thread.lock of a tuple, made earlier, is used in a place that cannot" in text, text
    assert "the _thread.RLock of " in text
    print("ok")
    """)


def test_held_rlock_is_reported_and_stays():
    check_script(EARLY + """
    rlock = threading.RLock()
    from microthread import patch
    with rlock:
        patch.all()
    assert "the _thread.RLock of __main__.rlock, made earlier, is held" in str(patch.report())
    with rlock:
        pass
    print("ok")
    """)


def test_local_keeps_its_values_and_is_one_for_each_thread():
    check_script(EARLY + """
    data = threading.local()
    data.value = 1
    from microthread import patch, spawn
    patch.all()
    assert data.value == 1
    seen = []
    def work():
        seen.append(hasattr(data, "value"))
        data.value = 2
    thread = threading.Thread(target=work)
    thread.start(); thread.join()
    spawn(work).wait()
    assert seen == [False, False] and data.value == 1
    print("ok")
    """)


def test_simple_queue_keeps_its_items():
    check_script(EARLY + """
    jobs = queue.SimpleQueue()
    jobs.put(1); jobs.put(2)
    from microthread import SimpleQueue, patch, spawn, sleep
    patch.all()
    assert type(jobs) is SimpleQueue and [jobs.get(), jobs.get()] == [1, 2]
    spawn(lambda: (sleep(0.001), jobs.put(3)))
    assert jobs.get() == 3
    print("ok")
    """)


def test_os_thread_started_earlier_is_joined_without_blocking():
    check_script(EARLY + """
    go = threading.Event()
    thread = threading.Thread(target=lambda: (go.wait(), early_sleep(0.03)))
    real_wait = go.wait
    thread.start()
    from microthread import patch, spawn
    patch.all()
    ticks = []
    def tick():
        while thread.is_alive():
            time.sleep(0.002); ticks.append(1)
    spawn(tick)
    go.set()
    thread.join(0.001)
    assert thread.is_alive()
    thread.join()
    assert not thread.is_alive() and len(ticks) >= 3, ticks
    main = threading.main_thread()
    assert main.is_alive() and main is threading.current_thread()
    print("ok")
    """)


def test_thread_made_earlier_is_started_as_a_micro_thread():
    check_script(EARLY + """
    seen = []
    thread = threading.Thread(target=lambda: seen.append(threading.current_thread()))
    timer = threading.Timer(0.001, seen.append, (1,))
    import microthread
    from microthread import patch
    patch.all()
    thread.start(); timer.start()
    thread.join(); timer.join()
    assert seen == [thread, 1] and microthread.stats()["spawned"] == 2
    print("ok")
    """)


def test_lock_of_a_running_function_is_left():
    check_script(EARLY + """
    from microthread import patch
    kept = []
    def early():
        lock = threading.Lock()
        kept.append(lock)
        patch.all()
        assert kept[0] is lock and type(lock) is not threading.Lock and lock.__class__ is not threading.Lock
        assert "the _thread.lock of a list, made earlier, is used in a place" in str(patch.report())
    early()
    other = set()
    def sets():
        other.add(patch.original("threading", "Lock")())
    sets()
    patch.undo()
    patch.all()
    assert {type(lock) for lock in other} == {threading.Lock}
    print("ok")
    """)
