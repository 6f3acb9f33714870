# SPDX-License-Identifier: MIT
"""C code that overflows a micro-thread's stack: said in words, then dead as of any segfault."""
import os
import signal
import sys

import pytest

from support import run_script

pytestmark = pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""),
                                reason="AddressSanitizer ends the process in its own way")

# How deep C recursion ends: CPython 3.14 and later, and in part those before, have limits of their own.
DEEP = """
    import faulthandler, os, signal, sys, threading
    from microthread import current, deferred, micro_thread, sleep, spawn
    sys.setrecursionlimit(10**6)
    def deep(*_):
        return sorted([1, 2], key=deep)
    class Deep:
        def __getattr__(self, name):
            return getattr(self, name + "x")
        def __repr__(self):
            return "%r" % [self]
        def __reduce__(self):
            return Deep, (Deep(),)
    def start(fn, name="deep", size=None):
        thread = micro_thread(fn, name=name, stack_size=size)
        thread.start()
        return thread
"""
has_limit = sys.version_info >= (3, 14)


def run_deep(body, *, faulthandler=False):
    # Before ours is there: what faulthandler puts back is what it found.
    before = "" if faulthandler else "    import faulthandler\n    faulthandler.disable()\n"
    return run_script(before + DEEP + body)


def check_words(done, name, size):
    assert done.returncode == -signal.SIGSEGV, (done.returncode, done.stdout, done.stderr)
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"Fatal error: stack overflow in C code of micro-thread {name} (id ")
    assert f"whose C stack is {size} bytes large" in first
    assert f"micro_thread(fn, stack_size={4 * size})" in first


needs_overflow = pytest.mark.skipif(has_limit, reason="CPython has a limit: RecursionError")
USUAL = (1024 if sys.version_info < (3, 12) else 256) * 1024


@needs_overflow
def test_sort_within_its_own_key_names_the_micro_thread_and_its_stack_size():
    done = run_deep("    start(deep).wait()\n")
    check_words(done, "deep", USUAL)


@needs_overflow
def test_faulthandler_still_shows_where():
    done = run_deep("    start(deep).wait()\n", faulthandler=True)
    check_words(done, "deep", USUAL)
    assert "Fatal Python error: Segmentation fault" in done.stderr and "in deep" in done.stderr


@needs_overflow
def test_faulthandler_enabled_afterwards_has_the_first_word():
    done = run_deep("    current()\n    faulthandler.enable()\n    start(deep).wait()\n")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.startswith("Fatal Python error: Segmentation fault") and "in deep" in done.stderr


@needs_overflow
def test_name_and_size_of_ones_own_are_told():
    done = run_deep('    start(deep, "schön 深 😀", 128 * 1024).wait()\n')
    check_words(done, "sch\u00f6n \u6df1 \U0001f600", 128 * 1024)


@needs_overflow
def test_long_name_is_cut():
    done = run_deep('    start(deep, "x" * 5000).wait()\n')
    check_words(done, "x" * 60 + "...", USUAL)


@needs_overflow
def test_no_name_is_the_number():
    done = run_deep("    spawn(deep).wait()\n")
    check_words(done, "micro_thread-2", USUAL)


@needs_overflow
def test_in_another_os_thread_and_in_the_child_of_a_fork():
    done = run_deep("""
    thread = threading.Thread(target=lambda: start(deep).wait())
    thread.start()
    thread.join()
    """)
    check_words(done, "deep", USUAL)
    done = run_deep("""
    current()
    pid = os.fork()
    if not pid:
        start(deep).wait()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.kill(os.getpid(), -status)
    sleep(1)
    """)
    check_words(done, "deep", USUAL)


@pytest.mark.parametrize("what", ["deep()", "getattr(Deep(), 'x')", "repr(Deep())",
                                  "__import__('pickle').dumps(Deep())", "eval('(' * 190 + ')' * 190)",
                                  "__import__('json').loads('[' * 100000)"])
def test_deep_c_code_is_a_recursion_error_or_told_in_words(what):
    done = run_deep(f"""
    sys.setrecursionlimit(1000)
    def work():
        try:
            {what}
        except (RecursionError, MemoryError, SyntaxError):
            pass
    start(work).wait()
    print("ok")
    """)
    if done.returncode and not has_limit:
        check_words(done, "deep", USUAL)
    else:
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


# ---- what is none of ours ----

CRASH = {
    "raised": "signal.raise_signal(signal.SIGSEGV)",
    "killed": "os.kill(os.getpid(), signal.SIGSEGV); sleep(1)",
    "at fault": "__import__('ctypes').string_at(8)",
    "in a micro-thread": "start(lambda: __import__('ctypes').string_at(8)).wait()",
}


@pytest.mark.parametrize("how", CRASH)
@pytest.mark.parametrize("faulthandler", [False, True])
def test_plain_segfault_dies_as_before(how, faulthandler):
    done = run_deep(f"    current()\n    {CRASH[how]}\n", faulthandler=faulthandler)
    assert done.returncode == -signal.SIGSEGV
    assert "micro-thread" not in done.stderr.replace("microthread", "")
    assert ("Fatal Python error: Segmentation fault" in done.stderr) == faulthandler


def test_handler_of_before_is_called_and_one_of_after_replaces_ours():
    done = run_script("""
        import faulthandler, signal
        faulthandler.disable()
        seen = []
        signal.signal(signal.SIGSEGV, lambda *args: seen.append("before"))
        import microthread
        microthread.current()
        signal.raise_signal(signal.SIGSEGV)
        signal.signal(signal.SIGSEGV, lambda *args: seen.append("after"))
        signal.raise_signal(signal.SIGSEGV)
        print(*seen)
    """)
    assert (done.returncode, done.stdout) == (0, "before after\n"), done.stderr


def test_one_that_ignores_the_signal_goes_on_ignoring():
    done = run_script("""
        import faulthandler, signal
        faulthandler.disable()
        signal.signal(signal.SIGSEGV, signal.SIG_IGN)
        import microthread
        microthread.current()
        signal.raise_signal(signal.SIGSEGV)
        print("ok")
    """)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
