# SPDX-License-Identifier: MIT
"""Every micro-thread runs in a copy of the context of whoever spawned it."""
import contextvars

from microthread import current, micro_thread, spawn, yield_now

var = contextvars.ContextVar("var", default="default")


def test_child_sees_the_value_at_its_spawn():
    token = var.set("parent")
    thread = spawn(var.get)
    var.set("later")
    assert thread.wait() == "parent"
    var.reset(token)


def test_long_form_copies_at_start():
    thread = micro_thread(var.get)
    token = var.set("at start")
    thread.start()
    var.reset(token)
    assert thread.wait() == "at start"


def test_change_in_the_child_stays_there():
    def work():
        var.set("child")
        yield_now()
        return var.get()

    thread = spawn(work)
    assert thread.wait() == "child" and var.get() == "default"


def test_each_keeps_its_own_value_across_switches():
    def work(n):
        var.set(n)
        for _ in range(5):
            yield_now()
            assert var.get() == n
        return var.get()

    some = [spawn(work, n) for n in range(20)]
    assert [thread.wait() for thread in some] == list(range(20))
    assert var.get() == "default"


def test_grandchild_inherits_the_childs_change():
    def work():
        var.set("child")
        return spawn(var.get).wait()

    assert spawn(work).wait() == "child"


def test_context_run_spans_switches():
    context = contextvars.copy_context()
    context.run(var.set, "inner")

    def work():
        yield_now()
        value = var.get()
        yield_now()
        return value

    def outer():
        return context.run(work), var.get()

    first = spawn(outer)
    second = spawn(lambda: [var.get(), yield_now(), var.get()])
    assert first.wait() == ("inner", "default")
    assert second.wait() == ["default", None, "default"]


def test_token_of_the_parent_is_refused_in_the_child():
    import pytest

    token = var.set("parent")
    thread = spawn(var.reset, token)
    with pytest.raises(ValueError):
        thread.wait()
    var.reset(token)


def test_context_attribute_is_the_one_it_runs_in():
    token = var.set("seen")

    def work():
        var.set("changed")
        yield_now()
        return current().context[var]

    thread = spawn(work)
    assert isinstance(thread.context, contextvars.Context) and thread.context[var] == "seen"
    yield_now()
    assert thread.context[var] == "changed"
    assert thread.wait() == "changed"
    assert thread.context[var] == "changed"
    var.reset(token)


def test_context_attribute_is_a_context_even_when_nothing_was_ever_set():
    from support import check_script

    check_script("""
        import contextvars
        from microthread import current, deferred, micro_thread, spawn, sleep
        gate = deferred()
        def work():
            assert isinstance(current().context, contextvars.Context)
            gate.wait()
            return var.get("none")
        var = contextvars.ContextVar("var")
        assert micro_thread(work).context is None
        for thread in (current(), spawn(gate.wait)):
            assert isinstance(thread.context, contextvars.Context), thread
        thread = spawn(gate.wait)
        sleep(0)
        assert isinstance(thread.context, contextvars.Context)
        assert thread.context is thread.context
        gate.callback(1)
        thread.wait()
        assert isinstance(thread.context, contextvars.Context)
        print("ok")
    """)


def test_decimal_context_is_each_ones_own():
    import decimal

    def work(precision):
        with decimal.localcontext() as context:
            context.prec = precision
            yield_now()
            return str(decimal.Decimal(1) / 3)

    some = [spawn(work, n) for n in (3, 5, 7)]
    assert [len(thread.wait()) for thread in some] == [5, 7, 9]
