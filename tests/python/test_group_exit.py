# SPDX-License-Identifier: MIT
"""Groups at the end of the process, of an OS thread, in deadlocks, after interrupts and forks."""
import pytest

from support import check_script, run_script


@pytest.mark.parametrize("body", [
    "sleep(60)",  # main
    "g.spawn(sleep, 60)",
])
def test_exit_of_the_process_with_an_open_group_in_another(body):
    check_script(f"""
    from microthread import *
    from microthread import sleep
    def work(n):
        begun.append(n)
        try:
            sleep(60)
        finally:
            sleep(0.001)
            ended.append(n)
    def own():
        try:
            with Group(4) as g:
                for n in range(6):
                    g.spawn(work, n)
                {body}
        finally:
            print(sorted(ended))
    begun, ended = [], []
    owner = spawn(own)
    while len(begun) < 4:  # one that has not begun is dropped
        yield_now()
    """, "[0, 1, 2, 3]\n")


def test_exit_by_a_member_ends_the_process_with_its_status():
    for line in ("sleep(60)", "pass"):
        done = run_script(f"""
        import sys
        from microthread import *
        with Group() as group:
            other = group.spawn(sleep, 60)
            group.spawn(sys.exit, 7)
            {line}
        """)
        assert (done.returncode, done.stdout, done.stderr) == (7, "", ""), done


def test_interrupt_cancels_the_members_and_comes_out_bare():
    for line in ("sleep(60)", "pass"):
        check_script(f"""
        import os, signal, threading
        from microthread import *
        ended = []
        def work():
            try:
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
                sleep(60)
            finally:
                ended.append(1)
        try:
            with Group() as group:
                group.spawn(work)
                {line}
        except KeyboardInterrupt:
            print("ok" if ended else "too early")
        """)


def test_second_interrupt_waits_for_the_clean_up_all_the_same():
    check_script("""
    import os, signal, threading
    from microthread import *
    ended, interrupts, second, main = [], [], Event(), current()
    def interrupt_later():
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    def handler(number, frame):
        if current() is not main:
            interrupt_later()
            return
        interrupts.append(number)
        if len(interrupts) == 1:
            interrupt_later()
        else:
            second.set()
        raise KeyboardInterrupt
    def work():
        try:
            interrupt_later()  # main is in the block
            sleep(60)
        finally:
            second.wait()
            sleep(0.001)
            ended.append(1)
    signal.signal(signal.SIGINT, handler)
    try:
        with Group() as group:
            group.spawn(work)
    except KeyboardInterrupt:
        print("ok" if ended else "too early")
    """)


def test_deadlock_in_a_group_is_told_and_ends_it():
    check_script("""
    from microthread import *
    try:
        with Group() as group:
            member = group.spawn(deferred().wait)
    except* DeadlockError as error:
        text = str(error.exceptions[0])
        assert "main waits for end of 1 member of <Group" in text, text
        assert member.cancelled()
        print("ok")
    """)


def test_deadlock_of_members_that_cannot_be_cancelled_ends_the_waiting():
    check_script("""
    from microthread import *
    def work():
        with shield():
            deferred().wait()
    try:
        with Group(1) as group:
            group.spawn(work)
            group.spawn(work)
    except* DeadlockError as error:
        assert "ended" in repr(group) and len(group) == 0, group
        print("ok")
    """)


def test_fork_in_the_block_leaves_the_child_without_members():
    check_script("""
    import os
    from microthread import *
    with Group(2) as group:
        for _ in range(5):
            group.spawn(sleep, 0.05)
        yield_now()
        pid = os.fork()
        if pid == 0:
            print(group.spawn(lambda: "child").wait(), flush=True)
    if pid:
        os.waitpid(pid, 0)
        print("parent")
    """, "child\nparent\n")


def test_fork_in_a_member_ends_the_child_with_it():
    check_script("""
    import os
    from microthread import *
    pids = []
    def work():
        yield_now()
        pids.append(os.fork())
        sleep(0.001)
        if not pids[0]:
            print("child", flush=True)
    with Group(2) as group:
        group.spawn(work)
        for _ in range(3):
            group.spawn(sleep, 0.01)
        sleep(0.002)
    os.waitpid(pids[0], 0)
    print("parent")
    """, "child\nparent\n")


def test_end_of_an_os_thread_ends_its_groups():
    check_script("""
    import threading
    from microthread import *
    begun, ended = [], []
    def work():
        begun.append(1)
        try:
            sleep(60)
        finally:
            ended.append("member")
    def own():
        try:
            with Group(2) as group:
                for _ in range(4):
                    group.spawn(work)
        finally:
            ended.append("owner")
    def elsewhere():
        spawn(own)
        while len(begun) < 2:
            yield_now()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ended == ["member", "member", "owner"], ended
    print("ok")
    """)
