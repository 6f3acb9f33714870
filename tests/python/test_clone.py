# SPDX-License-Identifier: MIT
"""clone(): each type comes back equal, of its class, with what is shared still shared."""
import array
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import operator
import os.path
import pathlib
import random
import re
import uuid

import pytest

from microthread.interpreters import CloneError, clone, register_clone


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __eq__(self, other):
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = object.__hash__


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a

    def __eq__(self, other):
        return type(self) is type(other) and self.a == other.a


class SlottedWithDict(Slotted):
    def __eq__(self, other):
        return super().__eq__(other) and self.__dict__ == other.__dict__


@dataclasses.dataclass
class Point:
    x: int = 1
    tags: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: tuple = ()


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Bits(enum.IntFlag):
    A = 1
    B = 2


class OwnState:
    def __getstate__(self):
        return self.value,

    def __setstate__(self, state):
        self.value, = state

    def __eq__(self, other):
        return self.value == other.value


class NewEx:
    def __new__(cls, *, size):
        self = super().__new__(cls)
        self.size = size
        return self

    def __getnewargs_ex__(self):
        return (), {"size": self.size}

    def __eq__(self, other):
        return self.size == other.size


class Failure(ValueError):
    pass


class OwnInt(int):
    pass


class OwnStr(str):
    pass


class OwnFloat(float):
    pass


class OwnList(list):
    pass


class OwnDict(dict):
    pass


class OwnTuple(tuple):
    pass


class OwnSet(set):
    pass


Pair = collections.namedtuple("Pair", "left right")


class Outer:
    class Inner:
        def method(self):
            pass


def slotted_with_dict():
    thing = SlottedWithDict(1)
    thing.more = [2]
    return thing


def own_state():
    thing = OwnState()
    thing.value = [1]
    return thing


NUMBERS = [sign * (1 << bits) + more for bits in (0, 7, 8, 15, 16, 30, 31, 32, 60, 62, 63, 64, 127, 1000)
           for sign in (1, -1) for more in (-1, 0, 1)]
TEXTS = ["", "a", "abc", "x" * 255, "x" * 256, "\xe9", "\xe9" * 300, "\u20ac", "\U0001f600", "\ud800",
         "\0", "x" * 70_000, "\u20ac" * 70_000]
VALUES = [
    None, True, False, Ellipsis, NotImplemented, *NUMBERS, 0.0, -0.0, 1.5, float("inf"), 1e-320, 1j,
    complex(-0.0, 2), *TEXTS, b"", b"a", b"\0abc", b"x" * 70_000, bytearray(), bytearray(b"abc"),
    bytearray(b"x" * 70_000), [], [1, [2, [3]]], (), (1,), (1, (2, (3,))), {}, {"a": 1, (1, 2): [3], None: {}},
    set(), {1, "a", (2,)}, frozenset(), frozenset({1, frozenset({2})}), range(5), range(1, 10, -3),
    slice(None), slice(1, "a", [2]), list(range(3000)), {n: str(n) for n in range(3000)},
    set(range(3000)), frozenset(range(3000)), tuple(range(3000)), {(n,): n for n in range(1000)},
    {(n,): [n] for n in range(600)}, [{"a": n, "b": [n]} for n in range(300)],
    int, len, type(None), type(...), type(NotImplemented), type, Outer.Inner, Outer.Inner.method, os.path.join,
    collections.OrderedDict, functools.partial, print, list[int], int | str,
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc), datetime.date(2026, 1, 2),
    datetime.time(1, 2, 3, fold=1), datetime.timedelta(1, 2, 3),
    datetime.timezone(datetime.timedelta(hours=2), "here"), Colour.RED, Colour.GREEN, Bits.A | Bits.B,
    array.array("i", [1, -2]), array.array("d", [1.5] * 20_000), array.array("i"), Plain(a=1, b=[2]), Plain(),
    Slotted(1), slotted_with_dict(),
    Point(1, ["a"]), Frozen(1, (2,)), own_state(), NewEx(size=3), OwnInt(5), OwnStr("x"), OwnFloat(1.5),
    OwnList([1, 2]), OwnList(range(1000)), OwnDict(a=1), OwnTuple((1, 2)), OwnSet({1}), Pair(1, [2]),
    collections.OrderedDict(b=1, a=2), collections.defaultdict(list, a=[1]),
    collections.OrderedDict((str(n), [n]) for n in range(600)),
    collections.deque([1, [2]], 5), collections.Counter("abca"), collections.ChainMap({"a": 1}),
    decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"),
    re.compile("a+", re.I), functools.partial(int, base=2).func, operator.itemgetter(1).__class__,
]


def text_of(value):
    """Its repr(); a set's with its members sorted, for their order depends on how the set was filled."""
    return repr(sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {repr(value)[:20]}")
def test_value_comes_back_equal_and_of_its_class(value):
    copy = clone(value)
    assert type(copy) is type(value)
    assert copy == value
    assert text_of(copy)[:200] == text_of(value)[:200] or type(value).__repr__ is object.__repr__


@pytest.mark.parametrize("value", [[1], {1: 2}, {1}, bytearray(b"a"), Plain(), OwnList(), Point()])
def test_mutable_value_is_copied(value):
    assert clone(value) is not value


def test_nan_comes_back():
    assert str(clone(float("nan"))) == "nan"


def test_names_are_the_objects_themselves():
    for value in (int, len, Plain, Outer.Inner, os.path.join, Colour.RED, test_nan_comes_back, None):
        assert clone([value, value])[1] is value


def test_shared_references_are_kept():
    for value in ([1], {1: 2}, {1}, (1, [2]), frozenset({1, 2}), bytearray(b"a"), "a long string" * 9,
                  b"bytes" * 9, Plain(a=1), OwnDict(a=1), datetime.date(2026, 1, 1), Pair(1, 2)):
        first, second, inside = clone([value, value, {"key": value}])
        assert first is second is inside["key"]


def test_equal_values_that_are_not_shared_stay_apart():
    first, second = clone([[1], [1]])
    assert first is not second


def test_cycle_through_each_mutable_container():
    a_list, a_dict, plain, own = [], {}, Plain(), OwnList()
    a_list.append(a_list)
    a_dict["self"] = a_dict
    plain.me = plain
    own.append(own)
    assert (copy := clone(a_list))[0] is copy
    assert (copy := clone(a_dict))["self"] is copy
    assert (copy := clone(plain)).me is copy
    assert (copy := clone(own))[0] is copy


def test_cycle_through_tuple_frozenset_and_set():
    tuple_ = ([],)
    tuple_[0].append(tuple_)
    copy = clone(tuple_)
    assert type(copy) is tuple and copy[0][0] is copy
    member = Plain()
    member.home = frozenset({member})
    copy = clone(member.home)
    (inside,) = copy
    assert type(copy) is frozenset and inside.home is copy
    member.home = {member}
    copy = clone(member)
    assert copy in copy.home


def test_cycle_that_begins_in_a_key():
    key = Plain()
    key.owner = {key: (key,)}
    copy = clone(key)
    assert copy.owner[copy] == (copy,)


class Reduced:
    """Made by a call whose argument holds the object itself."""

    def __init__(self, items):
        self.items = items

    def __reduce__(self):
        return Reduced, (self.items,)


def test_cycle_through_the_arguments_of_reduce():
    thing = Reduced([])
    thing.items.append(thing)
    copy = clone(thing)
    assert copy.items[0] is copy
    outer = clone([thing, thing.items])
    assert outer[0].items is outer[1] and outer[1][0] is outer[0]


def test_exception_keeps_arguments_notes_cause_and_context():
    try:
        try:
            raise KeyError("inner")
        except KeyError:
            raise Failure("text", [1]) from OSError(2, "gone", "path")
    except Failure as error:
        error.detail = {"a": 1}
        error.add_note("note")
        copy = clone(error)
    assert type(copy) is Failure and copy.args == ("text", [1])
    assert copy.detail == {"a": 1} and copy.__notes__ == ["note"]
    assert type(copy.__cause__) is FileNotFoundError and copy.__cause__.filename == "path"
    assert type(copy.__context__) is KeyError and copy.__suppress_context__
    assert copy.__traceback__ is None


def test_exception_group_and_cycle_of_contexts():
    group = clone(ExceptionGroup("several", [ValueError(1), Failure(2)]))
    assert group.message == "several" and [type(e) for e in group.exceptions] == [ValueError, Failure]
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__cause__ = second, first
    copy = clone(first)
    assert copy.__context__.__cause__ is copy
    first.__context__ = None


def test_attribute_names_are_interned():
    name = "some_attribute_" + str(len(VALUES))
    copy = clone(Plain(**{name: 1}))
    assert next(iter(copy.__dict__)) is next(iter(clone(Plain(**{name: 2})).__dict__))


class Temperature:
    def __init__(self, celsius):
        self.celsius = celsius
        self.lock = __import__("threading").Lock()


def test_registered_class_is_reduced_and_rebuilt():
    with pytest.raises(CloneError, match=r"^msg\[0\]\.lock: a 'lock' object cannot be cloned$"):
        clone([Temperature(1)])
    register_clone(Temperature, lambda one: one.celsius, lambda celsius: Temperature(celsius))
    warm = Temperature([20])
    first, second, degrees = clone((warm, warm, warm.celsius))
    assert first is second and first.celsius is degrees and degrees == [20]
    register_clone(cls=Temperature, reduce=lambda one: one.lock, rebuild=Temperature)
    with pytest.raises(CloneError, match=r"^msg\[0\] \(reduced\): a 'lock' object cannot be cloned$"):
        clone([warm])


def test_registering_asks_for_a_class_and_functions():
    with pytest.raises(TypeError, match="^cls must be a class, got int$"):
        register_clone(5, int, int)
    with pytest.raises(TypeError, match="^reduce must be callable, got int$"):
        register_clone(Plain, 5, int)
    with pytest.raises(TypeError, match="^rebuild must be callable, got int$"):
        register_clone(Plain, int, 5)


class Odd:
    pass


def test_copyreg_is_heeded():
    copyreg.pickle(Odd, lambda one: (complex, (1, 2)))
    try:
        assert clone([Odd()]) == [1 + 2j]
    finally:
        del copyreg.dispatch_table[Odd]


def random_value(generator, depth, seen):
    kind = generator.randrange(16 if depth else 7)
    if seen and generator.random() < 0.1:
        return generator.choice(seen)
    if kind < 7:
        return (None, generator.random() < 0.5, generator.randint(-10**generator.randrange(40), 10**20),
                generator.random(), generator.choice(TEXTS[:11]), generator.randbytes(generator.randrange(20)),
                generator.choice(NUMBERS))[kind]
    items = [random_value(generator, depth - 1, seen) for _ in range(generator.randrange(6))]
    hashable = [item for item in items if type(item) in (int, str, bytes, float, bool)]
    value = (items, tuple(items), dict.fromkeys(hashable, items), set(hashable), frozenset(hashable), OwnList(items),
             Plain(items=items), collections.deque(items), [dict(enumerate(items))])[kind - 7]
    if not isinstance(value, Plain):
        seen.append(value)
    return value


@pytest.mark.parametrize("seed", range(40))
def test_random_structure_comes_back_with_the_same_sharing(seed):
    generator = random.Random(seed)
    value = [random_value(generator, 5, []) for _ in range(5)] + [random_value(generator, 6, seen := [])] + seen
    copy = clone(value)
    assert copy == value

    def shape(thing, numbers):
        # Which containers are one and the same, in the order in which they are met.
        if isinstance(thing, Plain):
            thing = thing.items
        if not isinstance(thing, list | dict | collections.deque):
            return [] if not isinstance(thing, tuple) else [shape(item, numbers) for item in thing]
        if id(thing) in numbers:
            return numbers[id(thing)]
        numbers[id(thing)] = len(numbers)
        return [shape(item, numbers) for item in (thing.values() if isinstance(thing, dict) else thing)]

    assert shape(copy, {}) == shape(value, {})


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: Plain(k=x),
                                  lambda x: frozenset({x}), lambda x: OwnList([x])])
def test_ten_thousand_levels(wrap):
    value = ()
    for _ in range(10_000):
        value = wrap(value)
    copy = clone(value)
    for _ in range(10_000):
        (copy,) = (copy.values() if isinstance(copy, dict) else copy.__dict__.values()
                   if isinstance(copy, Plain) else copy)
    assert copy == ()


class Endless:
    def __reduce__(self):
        return Endless, (), Endless()


def test_endless_reduce_is_a_clone_error_with_a_short_path():
    with pytest.raises(CloneError, match="nested too deep") as caught:
        clone([Endless()])
    assert len(str(caught.value)) < 500
