# SPDX-License-Identifier: MIT
"""local: attributes of each micro-thread, with threading.local's semantics."""
import gc
import threading
import weakref

import pytest

from microthread import local, sleep, spawn, yield_now


class Thing:
    pass


def test_each_micro_thread_has_its_own():
    data, seen = local(), []
    data.x = "main"

    def work(n):
        assert not hasattr(data, "x")
        data.x = n
        yield_now()
        seen.append(data.x)
        del data.x
        with pytest.raises(AttributeError, match="no attribute 'x'"):
            data.x
        with pytest.raises(AttributeError):
            del data.x

    for thread in [spawn(work, n) for n in range(5)]:
        thread.wait()
    assert seen == [0, 1, 2, 3, 4] and data.x == "main"
    assert data.__dict__ == {"x": "main"} == vars(data) and "x" in dir(data)
    with pytest.raises(AttributeError, match="read-only"):
        data.__dict__ = {}
    with pytest.raises(AttributeError, match="read-only"):
        del data.__dict__


def test_init_is_called_in_each_with_the_same_arguments():
    calls = []

    class Special(local):
        shared = "class"
        __slots__ = ("slot",)

        def __init__(self, value, *, name):
            calls.append((value, name))
            self.value = value

        @property
        def double(self):
            yield_now()
            return 2 * self.value

        @double.setter
        def double(self, number):
            self.value = number / 2

        def method(self):
            return self.value

    data = Special(3, name="n")
    data.slot = "slots are shared"
    data.value = 4

    def work():
        assert data.value == 3 and data.shared == "class"
        data.double = 20
        data.shared = "mine"
        assert data.slot == "slots are shared"
        return data.double, data.method(), data.shared

    assert spawn(work).wait() == (20, 10, "mine")
    assert data.double == 8 and data.shared == "class" and calls == [(3, "n")] * 2


def test_init_that_fails_is_called_again():
    class Failing(local):
        tries = []

        def __init__(self):
            self.tries.append(1)
            if len(self.tries) in (2, 3):
                raise LookupError

    data = Failing()

    def work():
        for _ in range(2):
            with pytest.raises(LookupError):
                data.x
        assert not hasattr(data, "x")

    spawn(work).wait()
    assert len(Failing.tries) == 4


def test_arguments_without_init_are_refused():
    with pytest.raises(TypeError):
        local(1)
    with pytest.raises(TypeError):
        local(a=1)


def test_getattr_of_a_subclass_is_asked_last():
    class Asking(local):
        def __getattr__(self, name):
            return name.upper()

    data = Asking()
    data.x = 1
    assert data.x == 1 and data.y == "Y"


def test_values_are_freed_when_their_micro_thread_ends():
    data, refs = local(), []

    def work():
        data.x = Thing()
        refs.append(weakref.ref(data.x))

    threads = [spawn(work) for _ in range(3)]
    for thread in threads:
        thread.wait()  # the objects live on
    assert [ref() for ref in refs] == [None] * 3


def test_values_are_freed_with_the_local_and_cycles_are_found():
    data = local()
    data.x, data.cycle = Thing(), data
    ref = weakref.ref(data.x)
    again = weakref.ref(data)
    del data
    gc.collect()
    assert ref() is None and again() is None


def test_each_os_thread_has_its_own():
    data, seen = local(), []
    data.x = "main"

    def work():
        seen.append(hasattr(data, "x"))
        data.x = thing = Thing()
        seen.append(weakref.ref(thing))
        sleep(0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0] is False and seen[1]() is None and data.x == "main"


def test_many_locals_leave_nothing_behind():
    from microthread import _sync

    def work():
        for _ in range(2_000):
            data = local()
            data.x = 1

    spawn(work).wait()
    work()
    gc.collect()
    assert len(_sync._lives) <= 1
