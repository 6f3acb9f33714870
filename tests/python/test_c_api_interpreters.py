# SPDX-License-Identifier: MIT
"""The C API in several interpreters: modules, bodies that copies share, ends before deferreds."""
import pytest

from c_api_support import build_probe, check


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("modules"))


def test_each_interpreter_imports_it_and_fires_its_own(folder):
    check(folder, """
SOURCE = '''
from capi_probe import *
from microthread import spawn, sleep
handles = [Handle() for _ in range(50)]
waiters = [spawn(h.wait) for h in handles]
for n, h in enumerate(handles):
    h.send("v", n % 5 * 0.01) if n % 2 else h.callback("posted")
assert [w.wait() for w in waiters] == ["posted"] * 50
assert read_blocking(__import__("os").open("/dev/zero", 0)) == 0
sleep(0.01)
'''
some = [interpreters.create() for _ in range(3)]
for handle in [spawn(one.run, SOURCE) for one in some]:
    handle.wait()
exec(SOURCE)
for one in some:
    one.close()
""")


def test_foreign_interpreter_may_post_and_nothing_else(folder):
    check(folder, """
h = Handle()
one = interpreters.create()
one.prepare_main(number=h.lend(), again=h.lend(), folder=sys.path[0])
waiter = spawn(h.wait)
one.run('''
from capi_probe import borrow
h = borrow(number)
for call in (h.object, lambda: h.callback(1), lambda: h.errback(KeyError), h.wait):
    try:
        call()
    except RuntimeError as error:
        assert "of interpreter 0 cannot be used in interpreter" in str(error), error
        assert "mt_deferred_post()" in str(error)
    else:
        raise AssertionError(call)
assert h.post("v") == 0
h.unref()
borrow(again).unref()
''')
assert waiter.wait() == "posted"
one.close()
""")


def test_interpreter_that_has_ended_takes_nothing(folder):
    check(folder, """
one = interpreters.create()
receiver, sender = interpreters.create_channel()
one.prepare_main(sender=sender)
one.run('''
from capi_probe import Handle
made = Handle(), Handle(), Handle()
sender.send([h.lend() for h in made])
made[0].object().add_callbacks(print)
made[2].callback("early")
''')
first, second, third = map(borrow, receiver.recv())
one.close()
assert first.post("v") == -1 and counts()[:2] == (0, 1)
first.unref()
raised(RuntimeError, second.callback, 1)
raised(RuntimeError, second.wait, 0)
second.unref()
assert third.post("v") == -1 and counts()[:2] == (0, 2)
third.unref()
""")


def test_posts_while_an_interpreter_ends_are_made_or_dropped(folder):
    check(folder, """
for delay in range(8):
    one = interpreters.create()
    one.prepare_main(delay=delay / 1000)
    one.run('''
from capi_probe import Handle
for n in range(20):
    h = Handle()
    h.send("v", delay * n / 10)
    h.object().add_callbacks(str)
''')
    one.close()
until(lambda: sum(counts()[:2]) >= 160)
sleep(0.05)
assert sum(counts()[:2]) == 160, counts()
""")


def test_copies_share_one_body_that_is_freed_once(folder):
    check(folder, """
one = interpreters.create()
box = Box()
receiver, sender = interpreters.create_channel()
one.prepare_main(box=box, same=[box, box], sender=sender)
one.run('''
import capi_probe
assert type(box) is capi_probe.Box and same[0] is same[1] is box
sender.send((box.data(), box, same))
''')
data, back, (a, b) = receiver.recv()
assert type(back) is Box and a is b is back is not box
assert data == back.data() == box.data()
assert interpreters.clone({1: box})[1].data() == box.data()
assert counts()[3] == 1
del box, back, a, b
assert counts()[3] == 1       # the other interpreter has some
one.run("del box, same")
assert counts()[3] == 0
sender.send(Box())            # on its way when its channel goes
assert counts()[3] == 1
del sender, receiver
one.close()
assert counts()[3] == 0
""")


def test_receiver_imports_the_module_by_itself(folder):
    check(folder, """
one = interpreters.create()
assert one.call(type, Box()).__name__ == "Box"
one.prepare_main(box=Box())
one.run("import sys; assert 'capi_probe' in sys.modules")
""")


@pytest.mark.parametrize("mode, text", [
    ("e", "KeyError: 'no body'"), ("n", "reduce function of <class 'capi_probe.Box'> returned NULL"),
    ("r", "rebuild function of <class 'capi_probe.Box'> returned NULL"), ("x", "OSError: not here")])
def test_what_its_functions_raise_is_the_cause_of_clone_error(folder, mode, text):
    check(folder, f"""
box = Box({mode!r})
said = raised(interpreters.CloneError, interpreters.clone, ["other", box])
assert {text!r} in said, said
assert counts()[3] == 1
del box
assert counts()[3] == 0
""")


def test_receiver_must_have_registered_the_type_too(folder):
    check(folder, """
one = interpreters.create()
one.run('''
from microthread import interpreters
import capi_probe
interpreters.register_clone(capi_probe.Box, id, id)   # in its place
''')
said = raised(interpreters.RunFailed, lambda: one.prepare_main(box=Box()))
assert "mt_register_clone() was not called for <class 'capi_probe.Box'>" in said, said
assert counts()[3] == 0
""")


def test_type_that_cannot_be_imported_is_refused(folder):
    check(folder, """
class Local:
    pass
Local.__qualname__ = "Nowhere"
register(Local, "both")
said = raised(interpreters.CloneError, interpreters.clone, [Local()])
assert "msg[0]" in said and "Nowhere" in said, said
""")


def test_register_clone_checks_what_it_is_given(folder):
    check(folder, """
assert "type must be a class, got int" in raised(TypeError, register, 5, "both")
assert "type must be a class, got NULL" in raised(TypeError, register, None, "both")
assert "rebuild must not be NULL" in raised(ValueError, register, int, "reduce")
assert "reduce must not be NULL" in raised(ValueError, register, int, "rebuild")
""")


def test_example(folder):
    check(folder, """
import tally
assert tally.later(0.01, "hello").wait() == "hello"
raised(TimeoutError, tally.later(30, "too late").wait, 0.01)
assert [n for n in range(30) if tally.is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
raised(OverflowError, tally.is_prime, -1)
total = tally.Tally()
some = [interpreters.create() for _ in range(2)]
for one in some:
    one.prepare_main(total=total)
for done in [spawn(one.run, "for n in range(1000): total.add(n)") for one in some]:
    done.wait()
assert total.add(0) == 999_000
""")
