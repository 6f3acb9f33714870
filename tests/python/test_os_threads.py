# SPDX-License-Identifier: MIT
"""Each OS thread has a scheduler of its own; they do not disturb each other."""
import threading

import pytest

import microthread as mt
from microthread import current, deferred, micro_thread, sleep, spawn, threads, yield_now
from support import check_script

LIMIT = 60  # seconds after which a test that waits has failed


def in_os_thread(fn):
    """Run fn in a new OS thread; its value."""
    result = []

    def work():
        try:
            result.append((fn(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LIMIT)
    value, error = result[0]
    if error:
        raise error
    return value


def test_each_os_thread_has_its_own_main():
    mine = current()
    main, listed = in_os_thread(lambda: (current(), threads()))
    assert main is not mine and listed == [main] and main not in threads()
    assert main.name == "main"


def test_ids_differ_between_os_threads():
    ids = [t.id for _ in range(3) for t in in_os_thread(lambda: [spawn(int) for _ in range(3)])]
    assert len(set(ids)) == 9


def test_main_of_an_os_thread_that_ended_is_done():
    main = in_os_thread(current)
    assert main.state == "done" and main.done()


def test_finally_blocks_run_when_the_os_thread_ends():
    log = []

    def work():
        def parked():
            try:
                sleep(60)
            finally:
                sleep(0.001)
                log.append(threading.get_ident())

        for _ in range(5):
            spawn(parked)
        sleep(0.001)
        return threading.get_ident()

    ident = in_os_thread(work)
    assert log == [ident] * 5


def test_those_that_never_ran_are_dropped_with_the_os_thread():
    ran = []
    thread = in_os_thread(lambda: spawn(ran.append, 1))
    assert ran == [] and thread.done()


def test_wait_for_one_of_another_os_thread():
    started = threading.Event()
    box = []

    def work():
        box.append(spawn(lambda: sleep(0.01) or "value"))
        started.set()
        box[0].wait()

    other = threading.Thread(target=work)
    other.start()
    started.wait()
    assert box[0].wait(LIMIT) == "value"
    other.join()


def test_cancel_one_of_another_os_thread():
    ready, box = threading.Event(), []

    def work():
        def parked():
            try:
                sleep(60)
            except mt.Cancelled:
                box.append(threading.get_ident())
                raise

        thread = spawn(parked)
        sleep(0.001)
        box.append(thread)
        ready.set()
        thread._join()
        return thread.cancelled()

    result = []
    other = threading.Thread(target=lambda: result.append(work()))
    other.start()
    ready.wait()
    assert box[0].state == "waiting" and box[0].frame.f_code.co_name == "parked"
    assert box[0].cancel() is True
    other.join(LIMIT)
    assert result == [True] and box[1] == other.ident


def test_failure_in_another_os_thread_is_reported_there(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook",
                        lambda args: seen.append((str(args.exc_value), threading.get_ident())))
    kept = []

    def work():
        def fail():
            raise ValueError("there")

        kept.append(spawn(fail))
        yield_now()
        return threading.get_ident()

    ident = in_os_thread(work)
    assert seen == [("there", ident)]


def test_micro_thread_made_here_can_be_started_there():
    thread = micro_thread(threading.get_ident)

    def work():
        thread.start()
        return thread.wait(), threading.get_ident()

    ran_in, ident = in_os_thread(work)
    assert ran_in == ident


def test_two_hundred_os_threads_with_parked_ones_come_and_go():
    check_script("""
        import threading
        from microthread import sleep, spawn
        count = 0
        def parked():
            global count
            try:
                sleep(60)
            finally:
                count += 1
        def work():
            for _ in range(5):
                spawn(parked)
            sleep(0)
        for _ in range(20):
            some = [threading.Thread(target=work) for _ in range(10)]
            for thread in some:
                thread.start()
            for thread in some:
                thread.join()
        assert count == 1000, count
        print("ok")
    """)


def test_os_threads_that_switch_all_the_time_keep_apart():
    def work(n):
        log = []

        def step(k):
            for _ in range(20):
                log.append((threading.get_ident(), k))
                yield_now()

        for thread in [spawn(step, k) for k in range(5)]:
            thread.wait()
        return log

    results = []
    some = [threading.Thread(target=lambda n=n: results.append(work(n))) for n in range(6)]
    for thread in some:
        thread.start()
    for thread in some:
        thread.join()
    for log in results:
        assert len({ident for ident, _ in log}) == 1
        assert [k for _, k in log] == [0, 1, 2, 3, 4] * 20


def test_system_exit_in_another_os_thread_ends_that_one_only():
    def work():
        spawn(exit, 3)
        try:
            sleep(60)
        except SystemExit as error:
            return error.code

    assert in_os_thread(work) == 3


def test_deferreds_carry_values_between_os_threads_both_ways():
    asks, answers = [deferred() for _ in range(200)], [deferred() for _ in range(200)]

    def work():
        for ask, answer in zip(asks, answers):
            answer.callback(ask.wait(LIMIT) * 2)

    other = threading.Thread(target=work)
    other.start()
    for n, (ask, answer) in enumerate(zip(asks, answers)):
        ask.callback(n)
        assert answer.wait(LIMIT) == 2 * n
    other.join()


def test_scheduler_of_an_os_thread_that_never_waited_costs_no_trouble():
    for _ in range(50):
        in_os_thread(current)


def test_os_thread_started_by_a_micro_thread():
    def work():
        return in_os_thread(lambda: spawn(lambda: sleep(0.001) or 5).wait())

    assert [thread.wait() for thread in [spawn(work) for _ in range(5)]] == [5] * 5


def test_local_objects_of_an_ended_os_thread_may_be_dropped_here():
    made = in_os_thread(lambda: (mt.micro_pipe(3), deferred(), spawn(int), micro_thread(int)))
    made[0].__class__
    pipe = made[0]
    with pytest.raises(RuntimeError, match="OS thread"):
        pipe.put(1)
    del made, pipe


def test_micro_thread_of_an_ended_os_thread_answers():
    thread = in_os_thread(lambda: spawn(sleep, 60))
    assert thread.done() and thread.wait() is None and thread.cancel() is False
    repr(thread), thread.frame, thread.stack(), thread.context, thread.waiting_for


def test_sleeping_os_thread_is_woken_for_each_of_many_letters():
    import queue

    box = queue.SimpleQueue()

    def work():
        for _ in range(300):
            d = deferred()
            box.put(d)
            d.wait(LIMIT)

    some = [threading.Thread(target=work) for _ in range(3)]
    for thread in some:
        thread.start()
    for _ in range(900):
        box.get(timeout=LIMIT).callback(1)
    for thread in some:
        thread.join()
