# SPDX-License-Identifier: MIT
"""microthread.patch: what all() replaces, in which order, and that undo() puts it back.

Patching concerns the whole process, so each test runs a child.
"""
import pytest

from support import check_script, run_script

SNAPSHOT = """
    import _thread, _queue, builtins, queue, socket, threading, time
    MODULES = [_thread, _queue, builtins, queue, socket, threading, time]
    def snapshot():
        return {(m.__name__, k): id(v) for m in MODULES for k, v in vars(m).items()
                if k not in ("__warningregistry__", "_")}
"""


def test_undo_puts_back_every_name():
    check_script(SNAPSHOT + """
    import functools, logging, reprlib
    MODULES += [functools, logging, reprlib]
    before = snapshot()
    from microthread import patch
    patch.all()
    changed = {k for k, v in snapshot().items() if before.get(k) != v}
    assert ("time", "sleep") in changed and ("socket", "socket") in changed
    assert ("functools", "RLock") in changed and ("logging", "_lock") in changed
    patch.undo()
    assert snapshot() == before, {k for k, v in snapshot().items() if before.get(k) != v}
    assert not any(patch.is_patched(name) for name in ("time", "threading", "queue", "socket"))
    print("ok")
    """)


def test_patching_twice_changes_nothing_more():
    check_script(SNAPSHOT + """
    before = snapshot()
    from microthread import patch
    patch.all()
    once, text = snapshot(), str(patch.report())
    patch.all()
    patch.time()
    assert snapshot() == once and str(patch.report()) == text
    patch.undo()
    patch.undo()
    assert snapshot() == before
    patch.all()
    assert (set(once.items()) - set(snapshot().items())).__len__() < 5  # objects made anew
    print("ok")
    """)


def test_order_of_the_parts_does_not_matter():
    check_script("""
    import threading, time, queue
    from microthread import patch
    names = [name for name in ("queue", "socket", "time", "threading")]
    for name in names:
        getattr(patch, name)()
        assert patch.is_patched(name)
    def work(results):
        time.sleep(0.01)
        results.put(threading.current_thread().name)
    results = queue.SimpleQueue()
    started = [threading.Thread(target=work, args=(results,), name=str(i)) for i in range(3)]
    for thread in started:
        thread.start()
    assert sorted(results.get() for _ in started) == ["0", "1", "2"]
    import microthread
    assert microthread.stats()["spawned"] == 3
    print("ok")
    """)


def test_parts_are_chosen_by_keyword():
    check_script("""
    import builtins, socket, time
    from microthread import patch
    plain = (socket.socket, builtins.input)  # in a tuple: a global would be repaired
    patch.all(socket=False)
    assert socket.socket is plain[0] and not patch.is_patched("socket")
    assert builtins.input is plain[1] and not patch.is_patched("input")
    patch.all(input=True)
    assert socket.socket is not plain[0] and patch.is_patched("input")
    assert builtins.input is not plain[1]
    print("ok")
    """)


@pytest.mark.parametrize("call, error", [
    ("patch.all(soket=False)", "TypeError: all() has no part 'soket'; there are time, threading"),
    ("patch.is_patched('soket')", "ValueError: name must be one of time, threading"),
    ("patch.original('time', 'slep')", "AttributeError: module 'time' has no attribute 'slep'"),
])
def test_wrong_name_is_named(call, error):
    done = run_script(f"from microthread import patch\n{call}")
    assert done.returncode == 1 and error in done.stderr


def test_original_gives_what_was_there():
    check_script("""
    import queue, time
    plain = (time.sleep, queue.SimpleQueue)
    from microthread import patch
    assert patch.original("time", "sleep") is plain[0]
    patch.all()
    assert patch.original("time", "sleep") is plain[0] is not time.sleep
    assert patch.original("queue", "SimpleQueue") is plain[1]
    assert patch.original("json", "dumps")([1]) == "[1]"
    print("ok")
    """)


def test_original_thread_is_an_os_thread_and_is_waited_for_at_exit():
    check_script("""
    from microthread import patch
    patch.all()
    import os, threading, time
    Thread = patch.original("threading", "Thread")
    seen = []
    def work():
        seen.append((threading.get_native_id(), threading.get_ident()))
    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0][0] != os.getpid() and seen[0][1] == thread.ident != threading.get_ident()
    sleep = patch.original("time", "sleep")
    Thread(target=lambda: (sleep(0.03), os.write(1, b"ok\\n"))).start()
    """)


@pytest.mark.parametrize("first", ["run_blocking(int, '1')", "pass"])
def test_run_blocking_uses_os_threads_before_and_after(first):
    check_script(f"""
    from microthread import patch, run_blocking, spawn, sleep
    {first}
    patch.all()
    import threading, time
    blocking = patch.original("time", "sleep")
    ticks = []
    def tick():
        for _ in range(5):
            sleep(0.001)
            ticks.append(1)
    def until_it_ticked():
        while len(ticks) < 5:
            blocking(0.001)
    spawn(tick)
    run_blocking(until_it_ticked)
    assert run_blocking(threading.get_native_id) != threading.get_native_id()
    def nested():  # a thread of a worker's is an OS thread: nobody would run a micro-thread there
        seen = []
        thread = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
        thread.start()
        thread.join()
        return seen[0], threading.get_native_id()
    inner, worker = run_blocking(nested)
    assert inner != worker != threading.get_native_id()
    print("ok")
    """)


def test_undo_while_threads_run_is_refused():
    check_script("""
    from microthread import patch
    patch.all()
    import threading
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        patch.undo()
    except RuntimeError as error:
        assert "have ended; 1 run" in str(error)
    assert patch.is_patched("threading")
    event.set()
    thread.join()
    patch.undo()
    print("ok")
    """)


def test_report_reads():
    done = run_script("""
    import threading, time
    from time import sleep
    lock = threading.Lock()
    held = threading.Lock()
    import fcntl
    from microthread import patch
    with held:
        patch.all()
    print(patch.report())
    r = patch.report()
    assert "time.sleep" in r.patched["time"] and "input" in r.left
    assert "__main__.sleep" in r.repaired and "__main__.lock" in r.repaired
    """)
    assert done.returncode == 0, done.stderr
    for line in ("  time: time.sleep\n", "\n  input\n", "\n  __main__.sleep\n",
                 "the _thread.lock of __main__.held, made earlier, is held\n", "fcntl: flock()"):
        assert line in done.stdout, line


def test_patch_is_there_without_an_import_of_its_own():
    check_script("""
    import microthread, time
    microthread.patch.time()
    assert time.sleep is microthread.sleep
    print("ok")
    """)


def test_every_part_replaces_what_its_module_names_and_undo_restores_it():
    check_script("""
    import importlib, operator
    from microthread import patch
    MODULES = [name for name in ("os", "select", "selectors", "signal", "socket", "ssl", "subprocess")
               if name in patch.report().left]
    def now():
        values = {}
        for name in MODULES:
            standard, ours = importlib.import_module(name), importlib.import_module("microthread." + name)
            for path in ours.__patched__:
                values[f"{name}.{path}"] = (operator.attrgetter(path)(standard), operator.attrgetter(path)(ours))
        return values
    before = now()
    patch.all()
    for path, (standard, ours) in now().items():
        assert standard is ours is not before[path][0], path
        assert path in patch.report().patched[path.split(".")[0]]
        assert patch.original(*path.split(".", 1)) is before[path][0]
    patch.undo()
    assert now() == before
    print("ok")
    """)
