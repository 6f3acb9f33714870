# SPDX-License-Identifier: MIT
"""trace(): a complete file in the format of Chrome's trace events, however the block is left."""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal

import pytest

import microthread
from microthread import (current, deferred, micro_pipe, micro_thread, sleep, spawn, trace,
                         yield_now)
from support import check_script, child_environment, until_all_wait


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.json"


def events_of(path, name=None, ph=None):
    """Those with this name and phase; their times are exact, however long the machine has been up."""
    return [event for event in json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
            if name in (None, event["name"]) and ph in (None, event["ph"])]


def names_of(path):
    """(pid, tid) -> name"""
    return {(event["pid"], event["tid"]): event["args"]["name"]
            for event in events_of(path, "thread_name")}


def track(thread):
    return thread.id & ((1 << 40) - 1)


def poll():
    """Wait in a poll for another OS thread. A sleep may be over before it comes to that."""
    gate, me = deferred(), current()

    def fire():
        while me.state != "waiting":  # this OS thread has the GIL then, so that one is in its poll
            time.sleep(0.001)
        gate.callback(None)

    thread = threading.Thread(target=fire)
    thread.start()
    gate.wait()
    thread.join()


def test_each_micro_thread_is_a_track_with_name_slices_waits_spawn_and_finish(path):
    def work(pipe):
        with pytest.raises(LookupError):
            sleep(1000)
        pipe.put(1)

    with trace(path):
        pipe = micro_pipe()
        worker = micro_thread(work, (pipe,), name='a "worker"')
        worker.start()
        until_all_wait(worker)
        worker.throw(LookupError)
        pipe.take()
        worker.wait()
        poll()
    here, there = ([event for event in events_of(path) if event["tid"] == track(thread)]
                   for thread in (current(), worker))
    assert names_of(path)[os.getpid(), track(worker)] == 'a "worker"'
    assert names_of(path)[os.getpid(), track(current())] == current().name
    assert names_of(path)[os.getpid(), 0] == "loop"
    assert [event["args"]["id"] for event in here if event["name"] == "spawn"] == [worker.id]
    assert any(event["name"].startswith("waits: take from 0x") for event in here)
    assert any(re.fullmatch(r"waits: sleep (1000|9\d\d)\.\d{6} s", event["name"]) for event in there)
    assert [event["name"] for event in there if event["ph"] != "M"][-2:] == ["running", "finish"]
    assert events_of(path, "poll", "X")


def test_slices_of_one_loop_do_not_overlap(path):
    def work():
        for _ in range(20):
            yield_now()
            sleep(0)

    with trace(path):
        for thread in [spawn(work) for _ in range(5)]:
            thread.wait()
        poll()  # alone: it goes on without a switch
        sum(range(1000))
        poll()
    events = [event for event in events_of(path, ph="X")
              if event["pid"] == os.getpid()]  # workers of other tests may still be there
    slices = sorted((event["ts"], event["ts"] + event["dur"]) for event in events)
    assert len(slices) > 100
    for (_, end), (start, _) in zip(slices, slices[1:], strict=False):
        assert end <= start
    assert sum(event["name"] == "poll" for event in events) >= 2


def test_one_renamed_has_its_new_name(path):
    def work():
        yield_now()
        current().name = "later"
        yield_now()

    with trace(path):
        thread = spawn(work)
        thread.wait()
    assert names_of(path)[os.getpid(), track(thread)] == "later"


def test_name_that_is_no_text_and_a_long_one_are_still_json(path):
    odd = [micro_thread(lambda: None, name=name) for name in ("\udc80\n\t\\", "é" * 1000)]
    with trace(path):
        for thread in odd:
            thread.start()
            thread.wait()
    names = names_of(path)
    assert names[os.getpid(), track(odd[0])] == "\\udc80\n\t\\"
    assert names[os.getpid(), track(odd[1])] == "é" * 128


def test_other_os_threads_are_groups_of_their_own(path):
    numbers = []

    def work():
        numbers.append(threading.get_native_id())
        spawn(yield_now).wait()

    with trace(path):
        thread = threading.Thread(target=work)
        thread.start()
        microthread.run_blocking(thread.join)
    pids = {event["pid"] for event in events_of(path, "running")}
    assert {os.getpid(), *numbers} <= pids


def test_file_is_complete_after_an_exception(path):
    with pytest.raises(ZeroDivisionError), trace(str(path)):
        spawn(yield_now).wait()
        1 / 0
    assert events_of(path, "finish")


def test_file_is_complete_when_the_block_is_cancelled(path):
    def work():
        with trace(os.fsencode(path)):
            sleep(100)

    thread = spawn(work)
    yield_now()
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert events_of(path, "running")


def test_second_trace_is_refused_and_the_first_goes_on(path, tmp_path):
    with trace(path):
        with pytest.raises(RuntimeError, match="one trace at a time"), trace(tmp_path / "other"):
            pass
        assert not (tmp_path / "other").exists()
        thread = spawn(yield_now)
        thread.wait()
    assert any(event["tid"] == track(thread) for event in events_of(path, "finish"))
    with trace(path):
        pass


def test_bad_path_is_an_error_on_entering(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, trace(tmp_path / "no" / "file"):
        pass
    assert caught.value.filename == tmp_path / "no" / "file"
    with pytest.raises(IsADirectoryError), trace(tmp_path):
        pass
    with pytest.raises(TypeError, match="path must be"):
        trace(7)
    with pytest.raises(ValueError, match="null"), trace("a\0b"):
        pass


def test_full_disk_is_an_error_on_leaving():
    with pytest.raises(OSError, match="No space left"), trace("/dev/full"):
        spawn(yield_now).wait()


def test_file_is_complete_when_the_process_exits_within_the_block(path):
    check_script("""
        import sys, microthread
        def work():
            with microthread.trace(sys.argv[1]):
                microthread.sleep(100)
        microthread.spawn(work)
        microthread.yield_now()
        print("ok")
    """, args=[path])
    assert events_of(path, "running")


def test_file_of_a_killed_process_lacks_no_more_than_its_end(path):
    check_script("""
        import os, sys, microthread
        microthread.trace(sys.argv[1]).__enter__()
        while os.path.getsize(sys.argv[1]) < 300_000:
            for _ in range(1000):
                microthread.spawn(microthread.yield_now).wait()
        print("ok", flush=True)
        os._exit(0)
    """, args=[path])
    text = path.read_text(encoding="utf-8")
    assert len(json.loads(text[:text.rindex(",\n")] + "]")) > 1000


def test_child_of_a_fork_leaves_the_file_alone(path):
    check_script("""
        import os, sys, microthread, warnings
        warnings.simplefilter("ignore")
        with microthread.trace(sys.argv[1]):
            microthread.spawn(microthread.yield_now).wait()
            while not os.path.getsize(sys.argv[1]):
                microthread.sleep(0.01)  # a sanitizer's locks do not survive a fork while an OS thread begins
            child = os.fork()
            microthread.spawn(microthread.yield_now).wait()
            if child:
                assert os.waitpid(child, 0)[1] == 0
        if child:
            print("ok")
        else:
            with microthread.trace(sys.argv[1] + ".child"):
                microthread.spawn(microthread.yield_now).wait()
    """, args=[path])
    assert len({event["pid"] for event in events_of(path)}) == 1
    assert events_of(path.with_name("trace.json.child"), "finish")


def test_program_is_traced_to_its_end(path, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, threading, time\nprint(sys.argv[1:])\n"
                      "thread = threading.Thread(target=time.sleep, args=(0.001,), name='helper')\n"
                      "thread.start(); thread.join(); sys.exit(3)")
    for option in (["--trace", path], [f"--trace={path}"]):
        done = subprocess.run([sys.executable, "-m", "microthread", *option, script, "x", "--trace"],
                              env=child_environment(), text=True, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (3, "['x', '--trace']\n"), done.stderr
        tracks = {name: tid for (_, tid), name in names_of(path).items()}
        assert tracks["helper"] in {event["tid"] for event in events_of(path, "finish")}
        assert any(event["name"].startswith("waits: ") for event in events_of(path))
        path.unlink()


@pytest.mark.parametrize("option, message", [
    (["--trace"], "argument expected for the --trace option"),
    (["--trace", "/nowhere/file", "-c", "0"], "cannot write the trace to '/nowhere/file': No such"),
])
def test_program_cannot_be_traced_without_a_file(option, message):
    done = subprocess.run([sys.executable, "-m", "microthread", *option], text=True,
                          env=child_environment(), capture_output=True, timeout=60)
    assert done.returncode == 2 and message in done.stderr


def test_each_interpreter_has_a_trace_of_its_own(path, tmp_path):
    check_script("""
        import sys, microthread
        from microthread import interpreters
        with microthread.trace(sys.argv[1]):
            other = interpreters.create()
            other.run('''if True:
                import microthread
                with microthread.trace(path):
                    microthread.spawn(microthread.yield_now).wait()
            ''', path=sys.argv[2])
            other.close()
        print("ok")
    """, args=[path, tmp_path / "other"])
    assert events_of(tmp_path / "other", "finish") and events_of(path, "running")
