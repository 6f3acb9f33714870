# SPDX-License-Identifier: MIT
"""interpreters.Space: requests in order, responses here, globals there."""
from support import check_script

HEAD = """
    import operator, os, time
    import microthread as mt
    from microthread.interpreters import CloneError, InterpreterClosed, RunFailed, Space
"""


def check(source, **options):
    check_script(HEAD + source + '\n    print("ok")\n', **options)


def test_value_goes_to_response_and_its_value_to_wait():
    check("""
    with Space() as space:
        seen = []
        handle = space.run(lambda value: seen.append(value) or "done", operator.add, 2, 3)
        assert not seen  # it returned at once
        assert handle.wait() == "done" and seen == [5]
        assert space.run(lambda pid: pid, os.getpid).wait() == os.getpid()
    """)


def test_requests_run_one_at_a_time_in_order():
    check("""
    def add(number):
        import __main__, time
        log = __main__.__dict__.setdefault("log", [])
        assert not __main__.__dict__.get("busy")
        __main__.busy = True
        import microthread
        microthread.sleep(0.001)
        __main__.busy = False
        log.append(number)
        return list(log)
    with Space() as space:
        answers = []
        handles = [space.run(answers.append, add, number) for number in range(20)]
        for handle in handles:
            handle.wait()
        assert answers == [list(range(n + 1)) for n in range(20)]
    """)


def test_what_fn_raises_comes_out_of_wait_and_no_response_is_called():
    check("""
    def fail():
        raise LookupError("not here")
    with Space() as space:
        seen = []
        handle = space.run(seen.append, fail)
        try:
            handle.wait()
        except LookupError as error:
            assert error.args == ("not here",) and "fail" in error.__notes__[0]
        else:
            raise AssertionError("no exception")
        assert not seen
        assert space.run(seen.append, operator.neg, 1).wait() is None and seen == [-1]
    """)


def test_arguments_are_cloned_at_once():
    check("""
    with Space() as space:
        given = [1]
        handle = space.run(lambda value: value, sum, given)
        given.append(2)
        assert handle.wait() == 1
    """)


def test_response_may_ask_the_space_again():
    check("""
    with Space() as space:
        def once_more(value):
            return space.run(lambda value: value, operator.mul, value, 10).wait()
        assert space.run(once_more, operator.add, 1, 2).wait() == 30
    """)


def test_globals_are_those_of_the_space():
    check("""
    def double():
        import __main__
        return [2 * number for number in __main__.numbers]
    with Space() as space:
        space.globals["numbers"] = numbers = [1, 2]
        numbers.append(3)
        assert space.run(lambda value: value, double).wait() == [2, 4]
        assert space.globals["numbers"] == [1, 2] and "numbers" in space.globals
        assert "numbers" in list(space.globals) and len(space.globals) >= 1
        del space.globals["numbers"]
        for wrong, error in (("numbers", KeyError), (7, TypeError)):
            try:
                space.globals[wrong]
            except error:
                pass
            else:
                raise AssertionError(wrong)
    """)


def test_bad_arguments_are_named_and_nothing_runs():
    check("""
    with Space() as space:
        number = 1
        def closure():
            pass
        def make():
            number = 1
            return lambda: number
        for arguments, error, word in (((None, len), TypeError, "response"),
                                       ((print, 5), TypeError, ""),
                                       ((print, make()), CloneError, "number"),
                                       ((print, len, os), CloneError, "module")):
            try:
                space.run(*arguments)
            except error as raised:
                assert word in str(raised), raised
            else:
                raise AssertionError(arguments)
    """)


def test_cancelled_request_ends_and_the_next_one_runs():
    check("""
    def wait():
        import microthread
        microthread.sleep(60)
    with Space() as space:
        first = space.run(print, wait)
        second = space.run(lambda value: value, operator.add, 1, 1)
        mt.sleep(0.05)
        first.cancel()
        assert second.wait() == 2 and first.cancelled()
    """)


def test_closed_space_refuses_and_ends_what_waits():
    check("""
    def wait():
        import microthread
        microthread.sleep(60)
    space = Space()
    handle = space.run(print, wait)
    late = space.run(print, operator.add, 1, 1)
    mt.sleep(0.05)
    space.close()
    space.close()
    for one in (handle.wait, late.wait, lambda: space.run(print, len, ())):
        try:
            one()
        except InterpreterClosed:
            pass
        else:
            raise AssertionError(one)
    """)


def test_dropped_space_ends():
    check("""
    from microthread import interpreters
    space = Space()
    assert len(interpreters.list_all()) == 2
    del space
    deadline = time.monotonic() + 50
    while len(interpreters.list_all()) > 1 and time.monotonic() < deadline:
        mt.sleep(0.01)
    assert len(interpreters.list_all()) == 1
    """)
