# SPDX-License-Identifier: MIT
"""What the standard library builds on threads and sockets works over micro-threads."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import check_script, child_environment, run_script

ROOT = Path(os.environ.get("MT_SRCDIR", Path(__file__).parents[2]))
EXAMPLE = ROOT / "examples" / "legacy_http.py"

START = """
    import microthread
    from microthread import patch
    patch.all()
    import queue, sys, threading, time
    def tick(ticks):
        while True:
            microthread.sleep(0.001)
            ticks.append(1)
    ticks = []
    ticker = microthread.spawn(tick, ticks)
"""


def test_legacy_http_example_runs_patched():
    command = [sys.executable, "-m", "microthread", str(EXAMPLE), "50"]
    done = subprocess.run(command, env=child_environment(), text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "50 answers\n", "")


def test_thread_pool_executor_overlaps_waits():
    check_script(START + """
    from concurrent.futures import ThreadPoolExecutor, as_completed, wait
    with ThreadPoolExecutor(50) as pool:
        together = threading.Barrier(50)
        futures = [pool.submit(lambda i=i: (together.wait(), time.sleep(0.05), i)[2]) for i in range(50)]
        assert sorted(f.result() for f in as_completed(futures)) == list(range(50))
        assert ticks
        failed = pool.submit(lambda: 1 / 0)
        assert isinstance(failed.exception(), ZeroDivisionError)
        gate = threading.Event()
        slow = pool.submit(gate.wait)
        assert wait([slow], timeout=0.001).not_done == {slow}
        gate.set()
    print("ok")
    """)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="needs concurrent.interpreters, of 3.14")
def test_interpreters_of_the_standard_library_run_in_os_threads():
    check_script(START + """
    from concurrent.futures import InterpreterPoolExecutor
    from concurrent import interpreters
    import os, posix
    read, write = os.pipe()
    def let_go(count):  # while they are in posix.read(), which blocks, here it ticks
        ticks.clear()
        while len(ticks) < 5:
            microthread.sleep(0.001)
        posix.write(write, b"x" * count)
    with InterpreterPoolExecutor(2) as pool:
        futures = [pool.submit(posix.read, read, 1) for _ in range(2)]
        microthread.spawn(let_go, 2)
        assert [future.result(60) for future in futures] == [b"x", b"x"]
        assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
    interpreter = interpreters.create()
    thread = interpreter.call_in_thread(posix.read, read, 1)
    microthread.spawn(let_go, 1)
    thread.join()
    assert not thread.is_alive()
    interpreter.close()
    assert "concurrent.interpreters: call() and exec() block" in str(patch.report())
    print("ok")
    """)


def test_pool_made_earlier_with_os_threads_still_serves():
    check_script("""
    from concurrent.futures import ThreadPoolExecutor
    import threading
    pool = ThreadPoolExecutor(2)
    assert pool.submit(int, "1").result() == 1
    from microthread import patch
    patch.all()
    assert [f.result() for f in [pool.submit(int, "2"), pool.submit(int, "3")]] == [2, 3]
    import microthread, time
    ticks = []
    def tick():
        for _ in range(3):
            microthread.sleep(0.001); ticks.append(1)
    def until_it_ticked():
        while len(ticks) < 3: time.sleep(0.001)
    microthread.spawn(tick)
    pool.submit(until_it_ticked).result()
    pool.shutdown()
    print("ok")
    """)


def test_queues_wait_for_the_micro_thread():
    check_script(START + """
    for kind in (queue.Queue, queue.LifoQueue, queue.PriorityQueue):
        jobs = kind(2)
        def feed():
            for i in range(5):
                jobs.put(i)
        threading.Thread(target=feed).start()
        got = []
        for _ in range(5):
            got.append(jobs.get(timeout=60)); jobs.task_done(); time.sleep(0)
        jobs.join()
        assert sorted(got) == list(range(5))
        try:
            jobs.get(timeout=0.002)
        except queue.Empty:
            pass
    assert ticks
    print("ok")
    """)


def test_logging_with_queue_handler_and_listener():
    check_script(START + """
    import io, logging, logging.handlers
    out, records = io.StringIO(), queue.SimpleQueue()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(threadName)s %(message)s"))
    listener = logging.handlers.QueueListener(records, handler)
    log = logging.getLogger("x")
    log.addHandler(logging.handlers.QueueHandler(records)); log.propagate = False
    listener.start()
    threads = [threading.Thread(target=log.error, args=("hello",), name=str(i)) for i in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    microthread.spawn(log.error, "bye").wait()
    listener.stop()
    lines = sorted(out.getvalue().split("\\n"))
    assert lines[:4] == ["", "0 hello", "1 hello", "2 hello"] and lines[4].endswith(" bye"), lines
    print("ok")
    """)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_asyncio_runs_beside_micro_threads(where):
    check_script(START + f"""
    import asyncio
    async def serve(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    def plain_client(port):
        import socket
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"hello\\n")
            return sock.makefile().readline()
    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answers = await asyncio.gather(*[asyncio.to_thread(plain_client, port) for _ in range(5)])
        while len(ticks) < 3:
            await asyncio.sleep(0.001)
        server.close()
        assert answers == ["hello\\n"] * 5, answers
    if {where == "main"}:
        asyncio.run(main())
    else:
        thread = threading.Thread(target=asyncio.run, args=(main(),)); thread.start(); thread.join()
    print("ok")
    """)


@pytest.mark.parametrize("selector", ["EpollSelector", "PollSelector", "SelectSelector"])
def test_each_thread_may_run_an_asyncio_loop_of_its_own(selector):
    check_script(START + f"""
    import asyncio, selectors
    async def work():
        working.append(1)
        while len(working) < 4:
            await asyncio.sleep(0.001)
        time.sleep(0.001)  # in the middle of a callback: the others stand still
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop()
    working, loops = [], []
    def run():
        loop = asyncio.SelectorEventLoop(selectors.{selector}())
        assert loop.run_until_complete(work()) is loop
        loop.close()
        loops.append(loop)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads: thread.start()
    run()
    for thread in threads: thread.join()
    assert len(set(loops)) == 4
    print("ok")
    """)


@pytest.mark.parametrize("debug", [False, True])
def test_thread_started_by_a_coroutine_does_not_take_its_loop_for_its_own(debug):
    check_script(START + f"""
    import asyncio, logging
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # else its debug mode tells of slow steps
    seen = []
    def plain():
        seen.append(asyncio._get_running_loop())
        time.sleep(0.001)
        return asyncio.run(nested(), debug={debug})
    async def nested():
        await asyncio.sleep(0.001)
        time.sleep(0.001)
        return asyncio.current_task()
    async def main():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        thread = threading.Thread(target=plain); thread.start()
        inner = await asyncio.to_thread(plain)
        assert inner is not task
        thread.join()  # in the middle of a step
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
    asyncio.run(main(), debug={debug})
    assert seen == [None, None] and asyncio._get_running_loop() is None
    print("ok")
    """)


def test_loop_that_waited_alone_is_forgotten_at_its_end():
    check_script("""
    from microthread import patch
    patch.all()
    import asyncio, threading, time
    for _ in range(2):
        asyncio.run(asyncio.sleep(0.001))
        thread = threading.Thread(target=time.sleep, args=(0.001,)); thread.start(); thread.join()
        assert asyncio._get_running_loop() is None
    print("ok")
    """)


def test_socketserver_serves_many_connections_in_one_os_thread():
    check_script(START + """
    import os, socket, socketserver
    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line)
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 100
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        socks = [socket.create_connection(server.server_address) for _ in range(50)]
        files = [sock.makefile("rw") for sock in socks]
        for i, file in enumerate(files):
            file.write(f"{i}\\n"); file.flush()
        assert [file.readline() for file in files] == [f"{i}\\n" for i in range(50)]
        assert len(os.listdir("/proc/self/task")) == 1
        for file, sock in zip(files, socks):
            file.close(); sock.close()
        server.shutdown()
    print("ok")
    """)


def test_multiprocessing_spawn_starts_joins_and_talks(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("""
import multiprocessing, threading, time
def square(x):
    return x * x
def child(jobs, results):
    results.put(jobs.get() + 1)
if __name__ == "__main__":
    import microthread
    ticks = []
    def tick():
        while True:
            microthread.sleep(0.005); ticks.append(1)
    microthread.spawn(tick)
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    process = context.Process(target=child, args=(jobs, results))
    process.start()
    def ask():
        while not ticks:
            microthread.sleep(0.001)
        jobs.put(1)
    microthread.spawn(ask)
    assert results.get(timeout=60) == 2 and ticks
    process.join(60)
    assert process.exitcode == 0
    from microthread import patch
    if "os" in patch.report().patched:  # its pipes are read by os.read()
        with context.Pool(1) as pool:
            assert pool.map(square, range(4)) == [0, 1, 4, 9]
    print("ok")
""")
    done = subprocess.run([sys.executable, "-m", "microthread", str(script)], env=child_environment(),
                          text=True, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_sqlite3_is_reported_and_works_in_a_worker():
    pytest.importorskip("sqlite3")
    check_script(START + """
    import sqlite3
    assert any("sqlite3" in text for text in patch.report().blocking)
    db = sqlite3.connect(":memory:", check_same_thread=False)
    rows = microthread.run_blocking(lambda: db.execute("select 1 + 1").fetchall())
    assert rows == [(2,)]
    db.close()
    print("ok")
    """)


def test_input_reads_in_a_thread_of_its_own():
    done = run_script("""
    import microthread
    from microthread import patch
    patch.all(input=True)
    import threading, time
    got = []
    thread = threading.Thread(target=lambda: got.append(input("name? ")))
    thread.start()
    time.sleep(0.005)
    thread.join()
    assert got == ["line"] and input() == "second", got
    try:
        input()
    except EOFError:
        print("ok")
    """, stdin="line\nsecond\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "name? ok\n", "")


def test_line_of_a_cancelled_input_goes_to_the_next_call():
    check_script("""
    import os
    read, write = os.pipe()
    os.dup2(read, 0)
    import microthread
    from microthread import patch
    patch.all(input=True)
    reader = microthread.spawn(input)
    while reader.state != "waiting":
        microthread.yield_now()
    reader.cancel()
    while not reader.done():
        microthread.yield_now()
    assert reader.cancelled()
    os.write(write, b"kept\\n")
    assert input() == "kept"
    print("ok")
    """)


def test_open_is_patched_when_asked_for(tmp_path):
    check_script("""
    import builtins, io, sys
    plain = (open,)
    import microthread
    from microthread import patch
    patch.all()
    assert builtins.open is plain[0]
    patch.all(open=True)
    assert builtins.open is io.open is microthread.open
    with open(sys.argv[1], "w") as file:
        file.write("x")
    import json, pathlib
    assert pathlib.Path(sys.argv[1]).read_text() == "x"
    patch.undo()
    assert builtins.open is io.open is plain[0]
    print("ok")
    """, args=[tmp_path / "file"])
