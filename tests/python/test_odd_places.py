# SPDX-License-Identifier: MIT
"""Switching where one would rather not: __del__, sort keys, imports, weak references, C calls."""
import gc
import sys
import weakref

import pytest

from microthread import _imports, deferred, micro_pipe, run, sleep, spawn, yield_now
from support import check_script


def test_switch_in_del():
    log = []

    class Thing:
        def __init__(self, n):
            self.n = n

        def __del__(self):
            sleep(0.001)
            log.append(self.n)

    def work(n):
        Thing(n)
        return n

    assert [thread.wait() for thread in [spawn(work, n) for n in range(5)]] == list(range(5))
    assert sorted(log) == list(range(5))


def test_wait_in_del_of_an_argument_and_of_a_result():
    log = []

    class Thing:
        def __del__(self):
            yield_now()
            sleep(0.001)
            log.append(1)

    for number, fn in enumerate((lambda thing: None, lambda thing: thing), 1):
        thread = spawn(fn, Thing())
        thread._join()
        del thread
        while len(log) < number:
            sleep(0.001)
    assert log == [1, 1]


def test_switch_in_a_sort_key():
    def work(n):
        def key(x):
            yield_now()
            return (x * n) % 101

        return sorted(range(100), key=key)

    values = [thread.wait() for thread in [spawn(work, n) for n in range(1, 5)]]
    assert values == [sorted(range(100), key=lambda x: x * n % 101) for n in range(1, 5)]


def test_switch_in_a_weak_reference_callback():
    log = []

    class Thing:
        pass

    def callback(ref):
        sleep(0.001)
        log.append("callback")

    def work():
        thing = Thing()
        ref = weakref.ref(thing, callback)
        del thing
        return ref() is None

    assert [thread.wait() for thread in [spawn(work), spawn(work)]] == [True, True]
    assert log == ["callback", "callback"]


def test_failure_in_del_and_weak_reference_callback_is_unraisable(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_type))

    class Thing:
        def __del__(self):
            yield_now()
            raise LookupError

    def work():
        thing = Thing()
        ref = weakref.ref(thing, lambda ref: yield_now() or 1 / 0)
        del thing
        yield_now()
        return ref()

    assert spawn(work).wait() is None
    assert sorted(error.__name__ for error in seen) == ["LookupError", "ZeroDivisionError"]


def test_collection_whose_finalizers_wait():
    log = []

    class Thing:
        def __del__(self):
            sleep(0.001)
            log.append(1)

    def work():
        for _ in range(5):
            a = Thing()
            a.me = a
        del a
        gc.collect()

    thread, other = spawn(work), spawn(gc.collect)
    thread.wait()
    other.wait()
    gc.collect()
    assert len(log) == 5


def test_switch_in_hash_eq_and_call_of_c_functions():
    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            yield_now()
            return 1

        def __eq__(self, other):
            yield_now()
            return self.n == other.n

    def work(n):
        keys = {Key(i): i for i in range(5)}
        values = list(map(lambda x: yield_now() or x, range(5)))
        return len(keys), sum(values), max(range(5), key=lambda x: yield_now() or -x)

    assert [thread.wait() for thread in [spawn(work, n) for n in range(4)]] == [(5, 10, 0)] * 4


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_import_that_waits(modules):
    (modules / "slow_one.py").write_text("import microthread\nmicrothread.sleep(0.002)\nx = 1\n")

    def work():
        import slow_one

        return slow_one.x

    assert spawn(work).wait() == 1


def test_two_that_import_one_module_at_once_both_get_it_whole(modules):
    (modules / "slow_two.py").write_text("import microthread\nmicrothread.sleep(0.005)\nx = 1\n")

    def plain():
        import slow_two

        return slow_two.x

    def name():
        from slow_two import x

        return x

    some = [spawn(plain), spawn(name), spawn(plain)]
    assert [thread.wait() for thread in some] == [1, 1, 1]


def test_two_that_import_different_modules_at_once(modules):
    for name in ("slow_a", "slow_b"):
        (modules / f"{name}.py").write_text("import microthread\nmicrothread.sleep(0.002)\nx = 1\n")
    some = [spawn(__import__, "slow_a"), spawn(__import__, "slow_b")]
    assert [thread.wait().x for thread in some] == [1, 1]


def how_import_ends(name):
    try:
        __import__(name)
    except ZeroDivisionError:
        return "raised"
    return "gave the module"


def waits_for_an_import(os_thread):
    """Whether it has come to the lock of a module that another one loads."""
    frame = sys._current_frames().get(os_thread.ident)
    while frame is not None:
        if frame.f_code is _imports.ModuleLock.acquire.__code__:
            return True
        frame = frame.f_back
    return False


def test_failed_import_ends_as_with_os_threads_and_can_be_tried_again(modules):
    import threading
    import types

    # CPython up to 3.13.0 gives the module to the one that waited for it to be loaded.
    sys.modules["gate"] = gate = types.ModuleType("gate")
    gate.is_reached, gate.opens = threading.Event(), threading.Event()
    (modules / "broken_slowly.py").write_text(
        "import gate\ngate.is_reached.set()\ngate.opens.wait()\n1 / 0\n")
    (modules / "broken.py").write_text("import microthread\nmicrothread.sleep(0.002)\n1 / 0\n")
    expected = [None, None]  # of the one that loads it and of the one that waits, whoever ends first

    def load_slowly(place):
        expected[place] = how_import_ends("broken_slowly")

    others = [threading.Thread(target=load_slowly, args=(place,)) for place in range(2)]
    others[0].start()
    gate.is_reached.wait()
    others[1].start()
    while not waits_for_an_import(others[1]):
        sleep(0.001)
    gate.opens.set()
    for other in others:
        other.join()
    assert [thread.wait() for thread in [spawn(how_import_ends, "broken") for _ in range(2)]] == expected
    assert how_import_ends("broken") == "raised"


def test_circular_imports_of_two_micro_threads_end(modules):
    for name, other in (("ring_a", "ring_b"), ("ring_b", "ring_a")):
        (modules / f"{name}.py").write_text(
            f"import microthread\nmicrothread.sleep(0.002)\nimport {other}\nx = 1\n")
    some = [spawn(__import__, "ring_a"), spawn(__import__, "ring_b")]
    assert [thread.wait().x for thread in some] == [1, 1]


def test_cancelled_importer_leaves_the_lock_to_others(modules):
    (modules / "slow_three.py").write_text("import microthread\nmicrothread.sleep(0.01)\nx = 1\n")
    some = [spawn(__import__, "slow_three") for _ in range(3)]
    sleep(0.001)
    some[1].cancel()
    assert some[0].wait().x == some[2].wait().x == 1
    assert some[1].cancelled()


def test_import_by_os_thread_and_micro_thread_at_once(modules):
    import threading

    (modules / "slow_four.py").write_text("import microthread\nmicrothread.sleep(0.02)\nx = 1\n")
    ends = []
    other = threading.Thread(target=lambda: ends.append(__import__("slow_four").x))
    mine = [spawn(__import__, "slow_four") for _ in range(2)]
    sleep(0.001)
    other.start()
    assert [thread.wait().x for thread in mine] == [1, 1]
    other.join()
    assert ends == [1]


def test_big_imports_and_the_compiler_fit_a_micro_thread():
    check_script("""
        from microthread import spawn
        def work():
            import asyncio, decimal, json, re, ssl, unittest, xml.dom.minidom
            re.compile("(a|b)*" * 50 + "(?:x(?:y(?:z)))")
            json.loads("[" * 100 + "]" * 100)
            compile("(" * 80 + "1" + ")" * 80, "x", "eval")
            return "ok"
        print(spawn(work).wait())
    """)


def test_deep_c_recursion_raises_instead_of_crashing():
    check_script("""
        import sys
        from microthread import micro_thread, spawn
        class A:
            def __getattr__(self, name):
                return getattr(self, name + "x")
        def nest():
            x = []
            for _ in range(100_000):
                x = [x]
            return repr(x)
        for fn in (lambda: A().x, nest):
            thread = spawn(fn)
            thread._join()
            assert isinstance(thread.exception(), RecursionError), thread.exception()
        print("ok")
    """)


def test_run_inside_del_inside_run():
    log = []

    class Thing:
        def __del__(self):
            log.append(run(lambda: sleep(0.001) or "del"))

    def work():
        Thing()
        return "done"

    assert run(work) == "done" and log == ["del"]


def test_cancel_while_in_del_of_another():
    gate = deferred()

    class Thing:
        def __del__(self):
            gate.wait()

    def work():
        thing = Thing()
        del thing
        sleep(3600)

    thread = spawn(work)
    sleep(0.001)
    assert thread.state == "waiting"
    gate.callback(1)
    sleep(0.001)
    thread.cancel()
    thread._join()
    assert thread.cancelled()


def test_exception_group_and_with_stack_across_switches():
    import contextlib

    def work(n):
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.callback(yield_now)
            try:
                raise ExceptionGroup("g", [ValueError(n), KeyError(n)])
            except* ValueError as group:
                yield_now()
                assert group.exceptions[0].args == (n,)
            except* KeyError:
                yield_now()
        return n

    assert [thread.wait() for thread in [spawn(work, n) for n in range(4)]] == [0, 1, 2, 3]


def test_print_from_many(capsys):
    for thread in [spawn(print, n) for n in range(5)]:
        thread.wait()
    assert capsys.readouterr().out == "0\n1\n2\n3\n4\n"


def test_asyncio_beside_micro_threads():
    import asyncio

    async def main():
        await asyncio.sleep(0.001)
        yield_now()
        return 5

    assert spawn(asyncio.run, main()).wait() == 5
    assert asyncio.run(main()) == 5


def test_pipe_of_pipes_under_pressure_of_the_collector():
    pipe = micro_pipe(2)

    def write():
        for _ in range(50):
            inner = micro_pipe()
            inner.put(inner)
            pipe.put(inner)
            gc.collect(0)
        pipe.close()

    thread = spawn(write)
    assert sum(1 for inner in pipe if inner.take() is inner) == 50
    thread.wait()
