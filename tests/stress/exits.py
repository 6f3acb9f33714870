# SPDX-License-Identifier: MIT
"""Ends processes with interpreters in every phase of their lives, and looks at how they end.

    ./run-python ../tests/stress/exits.py                  500 processes, from the build folder
    ./run-python ../tests/stress/exits.py --count 1 --seed 17 --verbose

Each has some interpreters that do things drawn by the seed, and a main micro-thread that ends at some
moment in some way. It must end in time, with its own exit code, and with nothing on stderr but the
traceback that it may have raised for.
"""
import argparse
import concurrent.futures
import os
import random
import signal
import subprocess
import sys
import time

LIMIT = float(os.environ.get("MT_TEST_TIMEOUT", "120")) / 2  # seconds for one process

# ---- what interpreters do; each function is sent there by its code -------------------------------


def nap():
    import microthread

    microthread.sleep(100)


def nap_in_c():
    import time

    time.sleep(0.1)


def spin():
    while True:
        pass


def spin_and_catch():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def spin_a_while():
    import time

    end = time.monotonic() + 0.08
    while time.monotonic() < end:
        pass


def receive(receiver):
    for _ in receiver:
        pass


def send(sender):
    n = 0
    while True:
        sender.send([n, "x" * 100, {"n": n}])
        n += 1


def pass_on(receiver, sender):
    for message in receiver:
        sender.send(message)


def choose(receiver, sender):
    import microthread

    while True:
        microthread.select(receiver.receiving(), sender.sending(1))


def hold(lock):
    import microthread

    with lock:
        microthread.sleep(100)


def take_turns(lock):
    import microthread

    while True:
        with lock:
            microthread.sleep(0.0005)


def await_event(event):
    event.wait()


def await_notice(condition):
    with condition:
        while True:
            condition.wait(0.001)


def await_word(buffer):
    buffer.wait(0, 0)


def keep(what, sender):
    import microthread

    sender.send(len(what))
    microthread.sleep(100)


def swallow():
    import microthread

    def stay():
        while True:
            try:
                microthread.sleep(100)
            except BaseException:
                pass

    microthread.spawn(stay)
    microthread.sleep(100)


def clean_up():
    import microthread

    try:
        microthread.sleep(100)
    finally:
        microthread.sleep(0.01)


def in_a_group():
    import microthread

    with microthread.Group() as group:
        for n in range(5):
            group.spawn(microthread.sleep, 100)


def in_a_pool():
    import time

    import microthread

    microthread.run_blocking(time.sleep, 0.05)


def in_os_threads():
    import threading
    import time

    import microthread

    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    microthread.sleep(100)


def accept():
    import microthread

    with microthread.socket.create_server(("127.0.0.1", 0)) as server:
        server.accept()


def create_another():
    from microthread import interpreters

    interpreters.create().call(len, "abc")


def in_a_worker(number):
    from microthread.worker import messages, post_message

    post_message(number)
    for message in messages():
        post_message(message)


# ---- what the main interpreter sets going -------------------------------------------------------


def act(chance, kept):
    """One thing, with as many interpreters as it needs; `kept` is what stays referenced."""
    from microthread import Group, interpreters, sleep, spawn
    from microthread.interpreters import create, create_channel

    def ask(fn, *args):
        """One of the ways to have a function run in a new interpreter."""
        one = create()
        way = chance.choice(["handle kept", "handle dropped", "call", "of several"])
        if way == "call":
            spawn(one.call, fn, *args)
            return
        handle = one.spawn(fn, *args)
        if way != "handle dropped":
            kept.append(handle)
        if way == "of several":
            one.spawn(nap)
        if chance.random() < 0.5:
            kept.append(one)

    def alone():
        ask(chance.choice([nap, nap_in_c, spin, spin, spin_and_catch, spin_a_while, swallow, clean_up,
                           in_a_group, in_a_pool, in_os_threads, accept, create_another]))

    def some(sender):
        for n in range(1000):
            sender.send(n)
            sleep(0)

    def stream():
        receiver, sender = create_channel(chance.choice([0, 1, 10]))
        chance.choice([ask, spawn])(receive, receiver)
        ask(send, sender)

    def chain():
        first, sender = create_channel(chance.choice([None, 0, 3]))
        receiver, second = create_channel(chance.choice([0, 3]))
        ask(pass_on, first, second)
        spawn(receive, receiver)
        spawn(some, sender)

    def parked():
        receiver, sender = create_channel(0)
        kept.append((receiver, sender))
        ask(*chance.choice([(receive, receiver), (send, sender), (choose, *create_channel(0))]))

    def locks():
        lock = interpreters.Lock()
        kept.append(lock)
        ask(hold if chance.random() < 0.5 else take_turns, lock)
        chance.choice([ask, spawn])(take_turns, lock)

    def notices():
        event, condition = interpreters.Event(), interpreters.Condition()
        ask(await_event, event)
        ask(await_notice, condition)
        kept.append((event, condition))

    def memory():
        buffer = interpreters.SharedBuffer(64)
        kept.append(buffer)
        ask(await_word, buffer)
        receiver, sender = create_channel()
        ask(keep, buffer, sender)
        lent, lender = create_channel()
        lender.send_buffer(bytearray(100_000))
        ask(receive, lent)
        receiver.recv()

    def unread():
        receiver, sender = create_channel()
        for n in range(100):
            sender.send([create_channel(), interpreters.SharedBuffer(8), b"x" * 70_000])
        kept.append(create_channel())
        ask(keep, [receiver, sender], kept[-1][1])

    def creating():
        for _ in range(chance.randint(1, 3)):
            spawn(create)

    def closing():
        one = create()
        one.spawn(chance.choice([nap, clean_up, spin_a_while]))
        sleep(chance.random() * 0.005)
        spawn(one.close)

    def worker():
        one = interpreters.Worker(in_a_worker, 5)
        kept.append(one)
        if chance.random() < 0.5:
            one.on_message = lambda message: one.post_message(message)
        elif chance.random() < 0.5:
            one.terminate()

    def space():
        one = interpreters.Space()
        kept.append(one.run(print, nap))

    def spread():
        def block():
            with Group(interpreters=2) as group:
                for _ in range(4):
                    group.spawn(nap)

        spawn(block)

    chance.choice([alone, alone, alone, stream, chain, parked, locks, notices, memory, unread, creating,
                   closing, worker, space, spread])()


def be_one(seed):
    """In the child: set things going and end."""
    import microthread

    microthread.excepthook = lambda args: sys.__excepthook__(*args[:3])
    chance = random.Random(seed)
    kept = microthread.kept = []  # until the very end: ends of channels, too
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3])):
        act(chance, kept)
    microthread.sleep(chance.choice([0, 0, chance.random() * 0.01, chance.random() * 0.05]))
    end = how_it_ends(seed)
    if end == "sys.exit":
        sys.exit(3)
    if end == "sys.exit elsewhere":
        microthread.spawn(sys.exit, 3)
        microthread.sleep(100)
    if end == "raise":
        raise LookupError("the end")


def how_it_ends(seed):
    return random.Random(-seed - 1).choice(["return", "return", "sys.exit", "sys.exit elsewhere", "raise"])


# ---- the parent ----------------------------------------------------------------------------------


def check_one(seed):
    """Run one; returns (seed, seconds, what was wrong or '')."""
    command = [sys.executable, "-X", "faulthandler", __file__, "--one", str(seed)]
    begun = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    wrong = []
    try:
        out, err = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        wrong.append("took too long")
        child.send_signal(signal.SIGABRT)
        try:
            out, err = child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
    end = how_it_ends(seed)
    expected = {"return": 0, "raise": 1}.get(end, 3)
    if child.returncode != expected:
        wrong.append(f"exit code {child.returncode} instead of {expected}")
    lines = err.splitlines()
    is_quiet = not lines
    if end == "raise":
        is_quiet = lines[-1:] == ["LookupError: the end"] and err.count("Traceback") == 1
    if not is_quiet or out:
        wrong.append(f"it wrote:\n{out}{err}")
    return seed, time.monotonic() - begun, "; ".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="that of the first process")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        return be_one(options.one)
    clean, slowest = 0, 0.0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for seed, seconds, wrong in pool.map(check_one, range(options.seed, options.seed + options.count)):
            slowest = max(slowest, seconds)
            clean += not wrong
            if wrong or options.verbose:
                print(f"seed {seed}, {seconds:.1f} s: {wrong or 'clean'}", flush=True)
    print(f"{clean} of {options.count} clean, the slowest took {slowest:.1f} s")
    return int(clean < options.count)


if __name__ == "__main__":
    sys.exit(main())
