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
    assert event.wait(60)
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


def test_held_lock_is_replaced_by_one_that_is_held():
    check_script(EARLY + """
    lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
    for taken in (lock, rlock, rlock, condition):
        taken.acquire()
    from microthread import Lock, RLock, patch, yield_now, threads as started
    patch.all()
    assert (type(lock), type(rlock), type(condition._lock)) == (Lock, RLock, RLock), str(patch.report())
    log = []
    def user(lock):
        with lock:
            log.append(lock)
    threads = [threading.Thread(target=user, args=(each,)) for each in (lock, rlock, condition)]
    for thread in threads: thread.start()
    def until_all_wait():
        while any(thread.state != "waiting" for thread in started()[1:]): yield_now()
    until_all_wait()
    rlock.release()
    until_all_wait()
    assert not log and len(started()) == 4
    for each in (lock, rlock, condition): each.release()
    for thread in threads: thread.join()
    assert log == [lock, rlock, condition]
    held = rlock
    del log, threads
    lock.acquire()
    patch.undo()  # the one that is held is kept
    assert type(lock) is Lock and type(rlock) is not RLock
    lock.release()
    with rlock, condition:
        print("ok")
    """)


def test_lock_held_by_what_runs_is_reported_and_stays():
    check_script(EARLY + """
    rlock, theirs, taken, go = threading.RLock(), threading.RLock(), threading.Event(), threading.Event()
    def hold():
        with theirs:
            taken.set(); go.wait()
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    from microthread import patch
    with rlock:
        patch.all()
    for name in ("rlock", "theirs"):
        assert f"the _thread.RLock of __main__.{name}, made earlier, is held" in str(patch.report())
    go.set()
    holder.join()
    with rlock, theirs:
        print("ok")
    """)


def test_thread_of_an_os_thread_started_earlier_is_an_os_thread():
    check_script(EARLY + """
    jobs, started, seen = queue.SimpleQueue(), [], []
    def serve():
        while (job := jobs.get()) is not None:
            started.append(threading.Thread(target=job))
            started[-1].start()
    early = threading.Thread(target=serve)
    early.start()
    from microthread import patch
    patch.all()
    def note():
        while len(ticks) < 3:
            early_sleep(0.001)
        seen.append(threading.get_native_id())
    def job():
        inner = threading.Thread(target=note)
        inner.start(); note(); inner.join()
    ticks = []
    def tick():
        while True:
            time.sleep(0.002); ticks.append(1)
    threading.Thread(target=tick, daemon=True).start()
    jobs.put(job); jobs.put(None)
    early.join()
    started[0].join()
    assert not started[0].is_alive()
    late = threading.Thread(target=note)
    late.start(); late.join()
    assert len(set(seen)) == 3 and seen[2] == threading.get_native_id(), seen
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
    go, ticks = threading.Event(), []
    def until_it_ticked():
        go.wait()
        while len(ticks) < 3:
            early_sleep(0.001)
    thread = threading.Thread(target=until_it_ticked)
    real_wait = go.wait
    thread.start()
    while not go._cond._waiters or go._cond._lock.locked():
        early_sleep(0.001)
    from microthread import patch, spawn
    patch.all()
    def tick():
        while thread.is_alive():
            time.sleep(0.002); ticks.append(1)
    thread.join(0.001)
    assert thread.is_alive()
    spawn(tick)
    go.set()
    thread.join()
    assert not thread.is_alive()
    main = threading.main_thread()
    assert main.is_alive() and main is threading.current_thread()
    print("ok")
    """)


def test_selector_made_earlier_waits_for_the_micro_thread_only():
    check_script(EARLY + """
    import os, selectors
    reader, writer = os.pipe()
    made = [selectors.SelectSelector(), selectors.PollSelector(), selectors.EpollSelector()]
    for selector in made:
        selector.register(reader, selectors.EVENT_READ)
    from microthread import patch
    patch.all()
    assert "Selector" not in "".join(patch.report().remaining), patch.report()
    def check(selector, wait):
        threading.Timer(wait, os.write, (writer, b"x")).start()
        (key, events), = selector.select(60)
        assert key.fd == reader and events == selectors.EVENT_READ
        assert os.read(reader, 1) == b"x" and selector.select(0) == []
    for selector in made:
        check(selector, 0.01)
    patch.undo()
    for selector in made:
        check(selector, 0)
        selector.close()
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
    thread.start(); thread.join()
    timer.start(); timer.join()
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


def test_patching_beside_other_interpreters_touches_none_of_their_frames():
    check_script("""
        from microthread import interpreters, patch
        def nap(begun):
            import microthread
            begun.send(None)
            microthread.sleep(100)
        receiver, sender = interpreters.create_channel()
        others = [interpreters.create() for _ in range(2)]
        handles = [other.spawn(nap, sender) for other in others]
        receiver.recv(), receiver.recv()
        patch.threading()
        patch.undo()
        print("ok")
    """)
