# SPDX-License-Identifier: MIT
"""What cannot be cloned: CloneError names the path, the type and why, and nothing is left behind."""
import collections
import copyreg
import dataclasses
import gc
import socket
import sys
import threading

import pytest

import microthread
from microthread.interpreters import CloneError, clone
from support import check_script

LOCK = threading.Lock()


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("a", "b")


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


class OwnList(list):
    pass


class OwnDict(dict):
    pass


Pair = collections.namedtuple("Pair", "left right")


def slotted():
    thing = Slotted()
    thing.a, thing.b = 1, LOCK
    return thing


def closure():
    captured = 1
    return lambda: captured


def caused():
    error = ValueError("outer")
    error.__cause__ = KeyError(LOCK)
    error.__cause__.__context__ = None
    return error


def in_context():
    error = ValueError("outer")
    error.__context__ = KeyError(1, LOCK)
    return error


UNNAMED = "'function' object cannot be cloned: it is not what"
CASES = [
    (LOCK, r"^msg: a 'lock' object cannot be cloned$"),
    ({"a": [0, 1, 2, LOCK]}, r"^msg\['a'\]\[3\]: a 'lock' object"),
    ([(1, {2: LOCK})], r"^msg\[0\]\[1\]\[2\]: a 'lock' object"),
    ({LOCK}, r"^msg\{set element\}: a 'lock' object"),
    (frozenset({LOCK}), r"^msg\{set element\}: a 'lock' object"),
    ({LOCK: 1}, r"^msg\{key <unlocked _thread.lock .*: a 'lock' object"),
    ({(1, LOCK): 1}, r"^msg\{key \(1, <unlocked .*\}\[1\]: a 'lock' object"),
    ({(1,): LOCK}, r"^msg\[\(1,\)\]: a 'lock' object"),
    (Plain(a=Plain(b=[LOCK])), r"^msg\.a\.b\[0\]: a 'lock' object"),
    (slotted(), r"^msg\.b: a 'lock' object"),
    (Point(1, [LOCK]), r"^msg\.y\[0\]: a 'lock' object"),
    (OwnList([1, LOCK]), r"^msg\[1\]: a 'lock' object"),
    (OwnDict(a=LOCK), r"^msg\['a'\]: a 'lock' object"),
    (OwnDict({(LOCK,): 1}), r"^msg\{key \(.*\}\[0\]: a 'lock' object"),
    (Pair(1, LOCK), r"^msg\[1\]: a 'lock' object"),
    (collections.deque([LOCK]), r"^msg\[0\]: a 'lock' object"),
    (collections.OrderedDict(a=LOCK), r"^msg\['a'\]: a 'lock' object"),
    (slice(1, LOCK), r"^msg\.__reduce__\(\)\[1\]\[1\]: a 'lock' object"),
    (ValueError(1, LOCK), r"^msg\.args\[1\]: a 'lock' object"),
    (caused(), r"^msg\.__cause__\.args\[0\]: a 'lock' object"),
    (in_context(), r"^msg\.__context__\.args\[1\]: a 'lock' object"),
    ([sys], r"^msg\[0\]: a 'module' object cannot be cloned$"),
    ([lambda: 0], rf"^msg\[0\]: a {UNNAMED} test_clone_errors.<lambda> names$"),
    ([closure()], rf"^msg\[0\]: a {UNNAMED} test_clone_errors.closure.<locals>.<lambda> names$"),
    ((x for x in ()), r"^msg: a 'generator' object cannot be cloned$"),
    (sys._getframe(), r"^msg: a 'frame' object cannot be cloned$"),
    (socket.socket(), r"^msg: a 'socket' object cannot be cloned$"),
    (open(__file__), r"^msg: a 'TextIOWrapper' object cannot be cloned$"),  # noqa: SIM115
    (threading.RLock(), r"^msg: a 'RLock' object cannot be cloned$"),
    (microthread.micro_pipe(), r"^msg: a 'micro_pipe' object cannot be cloned$"),
    (microthread.current(), r"^msg: a 'micro_thread' object cannot be cloned$"),
    ({"x" * 100: LOCK}, r"^msg\['xxx[x]+\.\.\.\]: a 'lock' object"),
]


@pytest.mark.parametrize("value, text", CASES, ids=lambda x: str(x)[:40])
def test_error_names_the_path_and_the_type(value, text):
    with pytest.raises(CloneError, match=text):
        clone(value)


def test_error_is_a_value_error_and_chains_its_cause():
    assert issubclass(CloneError, ValueError)
    with pytest.raises(CloneError) as caught:
        clone([LOCK])
    assert isinstance(caught.value.__cause__, TypeError)
    assert CloneError.__module__ == "microthread.interpreters"


def test_path_of_a_deep_one_is_shortened():
    value = LOCK
    for _ in range(5000):
        value = [value]
    with pytest.raises(CloneError) as caught:
        clone(value)
    text = str(caught.value)
    assert text.startswith("msg[0][0]") and " ... [0]" in text and len(text) < 300


class Raises:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def test_exception_of_reduce_is_the_cause():
    error = KeyError("why")
    with pytest.raises(CloneError, match=r"^msg\['a'\] cannot be cloned: KeyError: 'why'$") as caught:
        clone({"a": Raises(error)})
    assert caught.value.__cause__ is error
    with pytest.raises(CloneError, match=r"^msg: a 'Raises' object cannot be cloned$"):
        clone(Raises(TypeError("no")))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), microthread.Cancelled(), SystemExit(1)])
def test_what_must_be_seen_is_not_hidden(error):
    with pytest.raises(type(error)) as caught:
        clone([Raises(error)])
    assert caught.value is error


class RaisesHere:
    """Made by a call that fails where it is read."""

    def __init__(self, error=None):
        if error:
            raise error

    def __reduce__(self):
        return RaisesHere, (ValueError("there"),)


def test_failure_to_rebuild_is_a_clone_error_with_its_cause():
    with pytest.raises(CloneError, match="^a message cannot be rebuilt here: ValueError: there$") as caught:
        clone([1, [2, RaisesHere()]])
    assert caught.value.__cause__.args == ("there",)


class Bad:
    def __init__(self, value):
        self.value = value

    def __reduce_ex__(self, protocol):
        return self.value


@pytest.mark.parametrize("value", [5, (), (int,), (1, ()), (int, 5), (int, (), None, 5), (int, (), None, None, 5),
                                   (int, (), None, None, None, None, None)])
def test_malformed_reduce_is_a_clone_error(value):
    with pytest.raises(CloneError, match=r"^msg\[0\]: a 'Bad' object cannot be cloned: its __reduce_ex__\(\) must return"):
        clone([Bad(value)])


@pytest.mark.parametrize("value, text", [
    ((Plain, (), None, None, iter([5])), "gives no pairs"),
    ((Plain, (), None, iter([1])), "no attribute 'append'"),
    ((Plain, (), None, None, iter([(1, 2)])), "does not support item assignment"),
    ((Plain, (), 5), "state of a 'Plain' object must be a dict, got int"),
    ((Plain, (), (None, 5)), "must be a dict"),
    ((int, (), {"a": 1}), "no attribute '__dict__'"),
    ((copyreg.__newobj__, (int, "x")), "invalid literal"),
    ((copyreg.__newobj__, (5,)), "__new__"),
    ((copyreg.__newobj_ex__, (int, (), {"x": 1})), "keyword|argument"),
    ("no_such_name", "it is not what test_clone_errors.no_such_name names"),
    ("Plain", "it is not what test_clone_errors.Plain names"),
])
def test_reduce_that_cannot_be_followed_is_a_clone_error(value, text):
    with pytest.raises(CloneError, match=text):
        clone([Bad(value)])


class Grows:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        target = self.target
        (target.append if isinstance(target, list) else lambda x: target.__setitem__(object(), x))(1)
        return Plain, ()


def test_container_that_changes_meanwhile_is_a_clone_error():
    for target in ([1], {1: 2}):
        target_ = target
        thing = Grows(target_)
        if isinstance(target, list):
            target.append(thing)
        else:
            target["x"] = thing
            target["y"] = 1
        with pytest.raises(CloneError, match="changed meanwhile|cannot be cloned"):
            clone(target)


class Unhashable:
    def __hash__(self):
        if getattr(Unhashable, "armed", False):
            raise RuntimeError("no hash here")
        return 1

    def __reduce__(self):
        return Unhashable, ()


def test_key_that_cannot_be_hashed_where_it_is_read():
    values = [{Unhashable(): 1}, {Unhashable()}, frozenset({Unhashable()})]
    Unhashable.armed = True
    try:
        for value in values:
            with pytest.raises(CloneError, match="RuntimeError: no hash here"):
                clone(value)
    finally:
        Unhashable.armed = False


def test_main_function_that_is_there_goes_by_name_and_others_do_not():
    check_script("""
    from microthread.interpreters import CloneError, clone
    def there(): pass
    assert clone(there) is there
    gone = there
    del there
    try:
        clone([gone])
    except CloneError as error:
        assert str(error) == "msg[0]: a 'function' object cannot be cloned: it is not what __main__.there names", error
    print("ok")
    """)


def test_failed_clone_leaves_nothing_behind():
    class Thing:
        pass
    things = [Thing() for _ in range(10)]
    before = [sys.getrefcount(thing) for thing in things]
    for value in ([things, things[0], {things[1]: LOCK}], (things, LOCK), {"a": things[3], "b": [LOCK]},
                  [Pair(things[4], LOCK)], [collections.deque(things + [LOCK])]):
        with pytest.raises(CloneError):
            clone(value)
        del value
    gc.collect()
    assert [sys.getrefcount(thing) for thing in things] == before


def test_deep_clones_inside_a_micro_thread():
    check_script("""
    from microthread import spawn
    from microthread.interpreters import clone, CloneError
    def work(wrap, levels):
        value = 1
        for _ in range(levels):
            value = wrap(value)
        copy = clone(value)
        for _ in range(levels):
            copy, = copy.values() if isinstance(copy, dict) else copy
            value, = value.values() if isinstance(value, dict) else value
        return copy
    for wrap in (lambda x: [x], lambda x: (x,), lambda x: {1: x}):
        assert spawn(work, wrap, 300_000).wait() == 1
    value = []
    for _ in range(1_000_000):
        value = [value]
    copy = clone(value)
    while copy:
        copy, = copy
        value, = value
    print("ok")
    """, timeout=60)
