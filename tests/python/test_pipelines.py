# SPDX-License-Identifier: MIT
"""Pipelines of generate() over files and sockets, and recursion through generators that delegate."""
import random
import sys

import pytest

from microthread import (current, generate, micro_pipe, put, sleep, socket, spawn, take, take_from,
                         threads, yield_now)


def cat(path):
    with open(path, encoding="utf-8") as file:
        take_from(file)


def grep(text):
    for line in current().stdin:
        if text in line:
            put(line)


def sort():
    take_from(sorted(current().stdin))


def head(count):
    for _ in range(count):
        put(take())


@pytest.fixture
def path(tmp_path):
    lines = [f"{n % 7} line {n}\n" for n in range(1000)]
    path = tmp_path / "lines"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_three_stages_over_a_file(path):
    got = list(generate(sort, stdin=generate(grep, "99", stdin=generate(cat, path))))
    assert got == sorted(line for line in path.read_text().splitlines(True) if "99" in line)
    assert len(got) == 19


def test_three_stages_over_sockets(path):
    ours, theirs = socket.socketpair()

    def send():
        with theirs, open(path, "rb") as file:
            for line in file:
                theirs.sendall(line)

    def receive():
        with ours, ours.makefile(encoding="utf-8") as file:
            take_from(file)

    spawn(send)
    got = list(generate(sort, stdin=generate(grep, "line 5", stdin=generate(receive))))
    assert got == sorted(line for line in path.read_text().splitlines(True) if "line 5" in line)


def test_many_pipelines_side_by_side():
    def numbers(n):
        for k in range(50):
            put(n + k)
            if k % 10 == 0:
                sleep(0.0001)

    def double():
        for n in current().stdin:
            put(2 * n)

    ends = [generate(double, stdin=generate(double, stdin=generate(numbers, n)))
            for n in range(100)]
    for n, end in enumerate(ends):
        assert list(end) == [4 * (n + k) for k in range(50)]


def test_end_of_the_last_stage_ends_the_ones_before():
    def count():
        n = 0
        while True:
            put(n)
            n += 1

    assert list(generate(head, 3, stdin=generate(head, 10**9, stdin=generate(count)))) == [0, 1, 2]
    for _ in range(50):
        yield_now()
    assert threads() == [current()]


def test_dropped_pipeline_ends_stage_by_stage():
    ends = []

    def count():
        try:
            while True:
                put(1)
        finally:
            ends.append("count")

    def copy(name):
        try:
            take_from(current().stdin)
        finally:
            ends.append(name)

    pipe = generate(copy, "b", stdin=generate(copy, "a", stdin=generate(count)))
    next(pipe)
    del pipe
    for _ in range(50):
        yield_now()
    assert ends == ["b", "a", "count"] and threads() == [current()]


def test_failed_first_stage_comes_out_at_the_end():
    def fail():
        put("a\n")
        raise OSError("disk")

    pipe = generate(grep, "", stdin=generate(fail))
    assert next(pipe) == "a\n"
    with pytest.raises(OSError, match="disk"):
        next(pipe)


def test_stage_that_failed_lets_go_of_its_stdin():
    def fail():
        take()
        raise ValueError

    def count():
        while True:
            put(1)

    pipe = generate(fail, stdin=generate(count))
    with pytest.raises(ValueError):
        next(pipe)
    for _ in range(50):
        yield_now()
    assert threads() == [current()]


def test_stdin_may_be_a_plain_pipe():
    pipe = micro_pipe()
    pipe.put("b")
    pipe.put("a")
    pipe.close()
    assert list(generate(sort, stdin=pipe)) == ["a", "b"]


def chain(depth):
    tree = None
    for n in range(depth):
        tree = (tree, n, None)
    return tree


def balanced(low, high):
    if low == high:
        return None
    middle = (low + high) // 2
    return balanced(low, middle), middle, balanced(middle + 1, high)


def walk_by_generators(tree):
    if tree is not None:
        take_from(generate(walk_by_generators, tree[0]))
        put(tree[1])
        take_from(generate(walk_by_generators, tree[2]))


def walk_by_calls(tree):
    if tree is not None:
        walk_by_calls(tree[0])
        put(tree[1])
        walk_by_calls(tree[2])


@pytest.fixture
def deep():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("walk", [walk_by_generators, walk_by_calls])
@pytest.mark.parametrize("tree, count", [(chain(1000), 1000), (balanced(0, 1000), 1000)],
                         ids=["chain", "balanced"])
def test_tree_walk(walk, tree, count, deep):
    assert list(generate(walk, tree)) == list(range(count))
    assert threads() == [current()]


def test_tree_walk_of_depth_1000_needs_no_recursion_of_its_reader():
    assert list(generate(walk_by_generators, chain(1000))) == list(range(1000))


@pytest.mark.parametrize("walk", [walk_by_generators, walk_by_calls])
def test_deep_walk_that_is_broken_off_ends_everywhere(walk, deep):
    pipe = generate(walk, chain(1000))
    assert next(pipe) == 0
    del pipe
    for _ in range(3000):
        yield_now()
    assert threads() == [current()]


def test_failure_at_the_bottom_comes_up_through_a_thousand_generators():
    def dig(depth):
        if depth == 0:
            raise ValueError("bottom")
        take_from(generate(dig, depth - 1))

    pipe = generate(dig, 1000)
    with pytest.raises(ValueError, match="bottom"):
        next(pipe)


def test_random_drops_of_pipelines_leave_nothing():
    rng = random.Random(1)

    def count():
        n = 0
        while True:
            put(n)
            n += 1
            if n % 5 == 0:
                yield_now()

    def copy():
        take_from(current().stdin)

    pipes = []
    for _ in range(300):
        pipe = generate(count)
        for _ in range(rng.randrange(4)):
            pipe = generate(copy, stdin=pipe)
        pipes.append(pipe)
        del pipe
        for pipe in rng.sample(pipes, min(3, len(pipes))):
            next(pipe)
        del pipe
        if rng.random() < 0.9:
            pipes.pop(rng.randrange(len(pipes)))
    pipes.clear()
    for _ in range(50):
        yield_now()
    assert threads() == [current()]
