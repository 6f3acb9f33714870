# SPDX-License-Identifier: MIT
"""Clones of graphs drawn by lot: the same graph comes back, or a CloneError, whatever the objects' own code
does meanwhile. MT_FUZZ_ROUNDS: how many graphs (default 400) for each test."""
import os

from support import check_script

ROUNDS = int(os.environ.get("MT_FUZZ_ROUNDS", "400"))

START = f"""
    import array, collections, datetime, decimal, enum, fractions, gc, random, sys
    import microthread
    from microthread.interpreters import CloneError, SharedBuffer, clone, create_channel
    from microthread import _core

    ROUNDS = {ROUNDS}

    class Plain:
        pass
    class Slotted:
        __slots__ = ("a", "b", "__weakref__")
    class Both(Slotted):
        pass
    class OwnList(list):
        pass
    class OwnDict(dict):
        pass
    class OwnSet(set):
        pass
    class OwnTuple(tuple):
        pass
    class OwnStr(str):
        pass
    class OwnInt(int):
        pass
    class Point(collections.namedtuple("Point", "x y")):
        __slots__ = ()
    class Color(enum.Enum):
        RED = 1
        BLUE = "blue"
    class Failure(Exception):
        pass

    def atom(lot):
        kind = lot.randrange(24)
        if kind < 4:
            return lot.choice([None, True, False, ..., NotImplemented])
        if kind < 8:
            return lot.choice([1, -1]) * lot.getrandbits(lot.choice([1, 7, 8, 31, 32, 62, 63, 64, 65, 500]))
        if kind < 10:
            return lot.choice([0.0, -0.0, 1.5, float("inf"), 1e308, 5e-324, 2 + 3j, lot.random()])
        if kind < 14:
            limit = lot.choice([128, 256, 0x800, 0x10000, 0x110000])
            text = "".join(chr(lot.randrange(limit)) for _ in range(lot.choice([0, 1, 3, 40, 300])))
            return OwnStr(text) if lot.random() < 0.1 else text
        if kind < 16:
            return lot.randbytes(lot.choice([0, 1, 40, 300, 70_000 if lot.random() < 0.1 else 5]))
        return lot.choice([
            len, int, Plain, collections.OrderedDict, datetime.date(2026, 5, 17), decimal.Decimal("1.50"),
            datetime.datetime(2026, 5, 17, 1, 2, 3, 4, datetime.timezone.utc), fractions.Fraction(2, 3),
            range(1, 20, 3), slice(1, None, 2), Color.RED, Color.BLUE, OwnInt(7), datetime.timedelta(1, 2)])

    def key(lot):
        while True:
            value = atom(lot)
            if lot.random() < 0.2:
                value = (value, atom(lot))
            elif lot.random() < 0.1:
                value = frozenset([1, "a"])
            try:
                hash(value)
            except TypeError:
                continue
            return value

    def graph(lot, size):
        '''Objects that refer to each other in any way; returns one and the mutable ones.'''
        nodes = [lot.choice([list, dict, set, bytearray, Plain, Slotted, Both, OwnList, OwnDict, OwnSet,
                             collections.deque, collections.OrderedDict, Failure])()
                 for _ in range(size)]
        extra = []
        def child():
            draw = lot.random()
            if draw < 0.45:
                return atom(lot)
            if draw < 0.85 or not extra:
                return lot.choice(nodes)
            return lot.choice(extra)
        for _ in range(size):
            parts = [child() for _ in range(lot.randrange(5))]
            extra.append(lot.choice([
                lambda: tuple(parts), lambda: OwnTuple(parts), lambda: Point(child(), child()),
                lambda: array.array("d", [lot.random()] * lot.randrange(9))])())
        for node in nodes:
            for _ in range(lot.choice([0, 1, 2, 3, 3, 40])):
                if isinstance(node, (list, collections.deque)):
                    node.append(child())
                elif isinstance(node, dict):
                    node[key(lot)] = child()
                elif isinstance(node, set):
                    node.add(key(lot))
                elif isinstance(node, bytearray):
                    node.append(lot.randrange(256))
                elif isinstance(node, Failure):
                    node.args += (atom(lot),)  # in a cycle they could not be made before it
                else:
                    setattr(node, lot.choice("ab"), child())
            if isinstance(node, (Plain, Both, OwnList, OwnDict, Failure)) and lot.random() < 0.5:
                node.__dict__["more " + str(lot.randrange(3))] = child()
        top = lot.choice(nodes + extra)
        return top, nodes

    CONTAINERS = (list, dict, set, bytearray, Plain, Slotted, collections.deque, Failure)

    def insides(node):
        '''What it holds, in a fixed order.'''
        inside = []
        if isinstance(node, (list, tuple, collections.deque)):
            inside += node
        elif isinstance(node, dict):
            for name, value in node.items():
                inside += [name, value]
        elif isinstance(node, (set, frozenset)):
            inside.append(sorted(map(repr, node)))
        elif isinstance(node, Failure):
            inside.append(node.args)
        for name in ("a", "b"):
            if isinstance(node, Slotted) and hasattr(node, name):
                inside += [name, getattr(node, name)]
        if hasattr(node, "__dict__") and not isinstance(node, (type, enum.Enum)) and not callable(node):
            for name, value in vars(node).items():
                inside += [name, value]
        return inside

    def compare(one, other):
        '''The same graph: of the same classes, equal in the leaves, and what is one object there is one here.'''
        twins, back, work = {{}}, {{}}, [(one, other)]
        while work:
            a, b = work.pop()
            assert type(a) is type(b), (type(a), type(b))
            if isinstance(a, CONTAINERS):
                assert a is not b
                if id(a) in twins or id(b) in back:
                    assert twins.get(id(a)) is b and back.get(id(b)) is a
                    continue
                twins[id(a)], back[id(b)] = b, a
            elif isinstance(a, tuple):
                if (id(a), id(b)) in twins:
                    continue
                twins[id(a), id(b)] = True
            if isinstance(a, CONTAINERS + (tuple, frozenset)):
                if isinstance(a, bytearray):
                    assert a == b
                mine, yours = insides(a), insides(b)
                assert len(mine) == len(yours), (a, b)
                work += zip(mine, yours)
            else:
                assert a == b or a != a, (a, b)
                assert repr(a) == repr(b) or callable(a)
"""


def test_same_graph_comes_back():
    check_script(START + """
    receiver, sender = create_channel()
    for seed in range(ROUNDS):
        lot = random.Random(seed)
        top, nodes = graph(lot, lot.choice([1, 2, 5, 5, 30]))
        try:
            way = seed % 3
            if way == 0:
                twin = clone(top)
            elif way == 1:
                twin = _core._pack(top).open()
            else:
                sender.send(top)
                twin = receiver.recv()
            compare(top, twin)
        except BaseException:
            print("seed", seed, flush=True)
            raise
    print("ok")
    """, timeout=120)


def test_deep_and_wide_graphs_come_back():
    check_script(START + """
    for seed in range(max(ROUNDS // 20, 4)):
        lot = random.Random(seed)
        node, depth = Plain(), lot.choice([9_000, 30_000])
        for n in range(depth):
            kind = lot.randrange(6)
            if kind == 0:
                node = [node]
            elif kind == 1:
                node = (n, node)
            elif kind == 2:
                node = {n: node}
            elif kind == 3:
                outer = Plain()
                outer.a = node
                node = outer
            elif kind == 4:
                node = OwnList([node, node])
            else:
                node = Point(node, 1)
        twin = clone([node, list(range(5000)), {str(n): n for n in range(5000)}, b"x" * 1_000_000])
        compare(node, twin[0])
        assert twin[1:] == [list(range(5000)), {str(n): n for n in range(5000)}, b"x" * 1_000_000]
        # Destructors of nested instances have limits of their own: unlink one after the other.
        for chain in (node, twin.pop(0)):
            while chain is not None:
                if isinstance(chain, (list, tuple)):
                    chain = chain[-1] if type(chain) is tuple else chain[0]
                elif isinstance(chain, dict):
                    chain = chain.popitem()[1]
                else:
                    chain = chain.__dict__.pop("a", None)
    print("ok")
    """, timeout=120)


def test_objects_that_change_the_graph_meanwhile_do_no_harm():
    check_script(START + """
    class Mean:
        '''Its reduction changes what is being cloned, raises, or is nonsense.'''
        def __init__(self, lot, nodes):
            self.lot, self.nodes = lot, nodes
        def harm(self):
            for _ in range(self.lot.randrange(1, 4)):
                node = self.lot.choice(self.nodes)
                if isinstance(node, Failure):
                    node.args = ()
                elif hasattr(node, "clear"):
                    if self.lot.random() < 0.5:
                        node.clear()
                    elif isinstance(node, dict):
                        node.update((n, [n]) for n in range(self.lot.choice([1, 50])))
                    elif isinstance(node, set):
                        node.update(range(self.lot.choice([1, 50])))
                    else:
                        node += b"abc" * self.lot.choice([1, 500])
                elif isinstance(node, Slotted):
                    node.a = []
                else:
                    node.__dict__.clear()
            if self.lot.random() < 0.2:
                gc.collect()
        def __reduce_ex__(self, protocol):
            self.harm()
            draw = self.lot.randrange(12)
            if draw == 0:
                raise KeyError("mean")
            if draw == 1:
                return self.lot.choice([None, 5, (), (1,), (Plain, 5), (list, (), 1, 2, 3, 4, 5, 6), "nonsense",
                                        (len, ()), (Plain, (), None, 5), (list, (), None, iter([Plain]))])
            if draw == 2:
                return list, (), None, (self.harm() for _ in range(3))
            if draw == 3:
                return dict, (), None, None, ((n, self.harm()) for n in range(3))
            if draw == 4:
                return Plain, (), self.lot.choice([{"a": self.nodes}, 5, (None, {"a": 1}), (5, 5), []])
            return Plain, ()
    class Hash:
        '''A key that cannot be trusted once it is rebuilt.'''
        def __init__(self, n):
            self.n = n
        def __hash__(self):
            if Hash.is_mean:
                raise ValueError("no hash")
            return 1
        def __eq__(self, other):
            if Hash.is_mean:
                raise ValueError("no comparison")
            return self is other
        is_mean = False
    good = bad = 0
    for seed in range(ROUNDS):
        lot = random.Random(seed)
        Hash.is_mean = False
        top, nodes = graph(lot, lot.choice([1, 3, 10]))
        top = [top, nodes]
        for node in nodes:
            if lot.random() < 0.6:
                mean = Mean(lot, nodes)
                if isinstance(node, (list, collections.deque)):
                    node.append(mean)
                elif isinstance(node, dict):
                    node[lot.choice([1, Hash(seed), mean])] = mean
                elif isinstance(node, set):
                    node.update([mean, Hash(seed)])
                elif isinstance(node, (Plain, Both)):
                    node.__dict__["mean"] = mean
        Hash.is_mean = lot.random() < 0.3
        try:
            twin = clone(top)
            good += 1
            del twin
        except (CloneError, KeyError, ValueError, TypeError, RuntimeError) as error:
            bad += 1
            del error
        except BaseException:
            print("seed", seed, flush=True)
            raise
        Hash.is_mean = False
    assert good > ROUNDS // 20 and bad > ROUNDS // 20, (good, bad)
    assert clone([1, {2: 3}]) == [1, {2: 3}]
    print("ok")
    """, timeout=120)
