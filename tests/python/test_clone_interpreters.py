# SPDX-License-Identifier: MIT
"""Messages that one interpreter writes and another reads, in other OS threads, each with its own GIL."""
import sys

import pytest

from support import check_script

START = '''
    import sys, textwrap, threading
    import datetime  # 3.12 wants it imported in the main interpreter first
    from microthread._core import _encode, _decode, _clone_buffer, SharedBuffer, clone
    from microthread.interpreters import CloneError
    try:
        import _interpreters as I
        def make(): return I.create("isolated")
        def execute(i, s):
            error = I.exec(i, s)
            if error: raise RuntimeError(error.formatted)
    except ImportError:
        import _xxsubinterpreters as I
        def make(): return I.create()
        execute = I.run_string

    def other(source, interpreter=None):
        """Run source in an interpreter of its own and an OS thread of its own."""
        failures = []
        def work():
            i = make() if interpreter is None else interpreter
            try:
                execute(i, "from microthread._core import _encode, _decode, SharedBuffer, CloneError\\n" + textwrap.dedent(source))
            except Exception as error:
                failures.append(error)
            if interpreter is None:
                I.destroy(i)
        thread = threading.Thread(target=work)
        thread.start()
        return thread, failures

    def finish(thread, failures):
        thread.join()
        if failures:
            raise failures[0]
'''


def check(body, expected="ok\n"):
    check_script(START + body, expected, timeout=60)


def test_value_goes_there_and_back():
    check("""
    import datetime, collections, uuid  # no decimal: _decimal of 3.11 crashes after another interpreter had it
    value = [None, 1, -2**100, "text", "\\u20ac", b"bytes", {"a": (1, [2])}, {1, 2}, 1.5, 2j, range(3), bytearray(b"x"),
             datetime.datetime(2026, 1, 2), collections.OrderedDict(a=1), uuid.UUID(int=3),
             len, int, collections.deque([1]), ValueError("x", 1).args, memoryview(b"abc"), "x" * 100_000,
             b"y" * 100_000, bytearray(200_000)]
    value.append(value[6])
    there = _encode(value)
    reply = SharedBuffer(8)
    handle = _encode(reply)
    finish(*other(f'''
        value = _decode({there})
        assert value[6] is value[-1]
        assert value[0] is None and value[15] is len
        _decode({handle}).store(0, _encode(value))
    '''))
    back = _decode(reply.load(0))
    assert back == value and back[6] is back[-1]
    print("ok")
    """)


def test_class_that_is_not_there_is_a_clone_error_that_names_it():
    check("""
    class Here: pass
    there = _encode([Here()])
    finish(*other(f'''
        try:
            _decode({there})
        except CloneError as error:
            assert "__main__.Here is not found" in str(error), error
            assert isinstance(error.__cause__, AttributeError), error.__cause__
        else:
            raise SystemError
    '''))
    print("ok")
    """)


def test_class_registered_only_in_the_sender_is_a_clone_error():
    check("""
    import threading
    from microthread.interpreters import register_clone
    register_clone(threading.Barrier, lambda one: one.parties, threading.Barrier)
    assert clone(threading.Barrier(3)).parties == 3
    there = _encode(threading.Barrier(3))
    finish(*other(f'''
        try:
            _decode({there})
        except CloneError as error:
            assert "register_clone(" in str(error) and "was not called in this interpreter" in str(error), error
        else:
            raise SystemError
    '''))
    print("ok")
    """)


def test_message_is_freed_by_whoever_does_not_read_it():
    check("""
    import gc
    shared = SharedBuffer(8)
    data = bytearray(16)
    lent = SharedBuffer.from_buffer(data)
    there = _encode([shared, lent])
    del lent
    shared.store(0, 5)
    finish(*other(f'''
        shared, lent = _decode({there})
        assert shared.load(0) == 5
        lent.store(8, 7)
        del shared, lent
    '''))
    from microthread import sleep
    while True:  # the process has a time limit
        try:
            data.append(1)
            break
        except BufferError:
            sleep(0.001)
    assert bytes(data[8:16]) == (7).to_bytes(8, sys.byteorder)
    print("ok")
    """)


def test_waiters_of_two_interpreters_wake_each_other():
    check("""
    shared = SharedBuffer(24)
    there = _encode(shared)
    thread = other(f'''
        shared = _decode({there})
        for n in range(300):
            while shared.load(0) == n:
                shared.wait(0, n)
            shared.store(8, n + 1)
            shared.notify(8)
    ''')
    for n in range(300):
        shared.store(0, n + 1)
        shared.notify(0)
        while shared.load(8) == n:
            shared.wait(8, n)
    finish(*thread)
    print("ok")
    """)


def test_memory_outlives_the_interpreter_that_made_it():
    check("""
    reply = SharedBuffer(16)
    handle = _encode(reply)
    finish(*other(f'''
        reply = _decode({handle})
        own = SharedBuffer(16)
        own.store(8, 77)
        reply.store(0, _encode(own))
        reply.store(8, _encode(memoryview(b"copied").cast("b")))
    '''))
    assert _decode(reply.load(0)).load(8) == 77
    assert bytes(_decode(reply.load(8))) == b"copied"
    print("ok")
    """)


def test_lent_buffer_stays_after_its_interpreter_has_ended():
    check("""
    reply = SharedBuffer(16)
    handle = _encode(reply)
    finish(*other(f'''
        import array
        reply = _decode({handle})
        data = array.array("q", range(1000))
        reply.store(0, _encode(SharedBuffer.from_buffer(data)))
        reply.store(8, _encode(b"large" * 40_000))
    '''))
    lent = _decode(reply.load(0))
    assert [lent.load(8 * n) for n in (0, 1, 999)] == [0, 1, 999]
    del lent
    assert _decode(reply.load(8)) == b"large" * 40_000
    print("ok")
    """)


def test_interpreter_ends_while_others_hold_and_it_holds():
    check("""
    for _ in range(5):
        data = bytearray(100_000)
        there = _encode([SharedBuffer.from_buffer(data), SharedBuffer(64), bytes(100_000)])
        finish(*other(f'''
        kept = _decode({there})
        own = SharedBuffer(8)
    '''))
        del data
    print("ok")
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="one GIL for all interpreters")
def test_many_interpreters_at_once():
    check("""
    counter = SharedBuffer(8)
    threads = []
    for n in range(4):
        there = _encode((counter, {"n": n, "list": list(range(100))}))
        threads.append(other(f'''
        from microthread._core import clone
        counter, value = _decode({there})
        for n in range(300):
            assert clone(value) == value
            counter.add(0, 1)
    '''))
    for thread in threads:
        finish(*thread)
    assert counter.load(0) == 1200
    print("ok")
    """)
