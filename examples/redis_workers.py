# SPDX-License-Identifier: MIT
"""Workers that take jobs from a list in Redis, as they were always written, with threads: [PORT]

    python examples/redis_workers.py                   OS threads
    python -m microthread examples/redis_workers.py    micro-threads, in one OS thread

Without a port a redis-server is started for the time that this takes.
"""

import subprocess
import sys
import tempfile
import threading
import time

import redis

WORKERS = 20
JOBS = 100
DELAY = 0.02  # seconds for one job


def work(client):
    while True:
        _, job = client.blpop("jobs")
        if job == b"stop":
            return
        time.sleep(DELAY)  # as if it asked somebody else
        with client.pipeline() as pipeline:
            pipeline.hset("results", job, int(job) ** 2).publish("done", job)
            pipeline.execute()


def follow(subscription, progress):
    for message in subscription.listen():
        if message["type"] == "message":
            progress.append(message["data"])
            if len(progress) == JOBS:
                return


def main(client):
    client.delete("jobs", "results")
    progress = []
    with client.pubsub() as subscription:
        subscription.subscribe("done")
        assert subscription.get_message(timeout=30)["type"] == "subscribe"
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(WORKERS)]
        threads.append(threading.Thread(target=follow, args=(subscription, progress)))
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        client.rpush("jobs", *range(JOBS), *["stop"] * WORKERS)
        for thread in threads:
            thread.join()
    seconds = time.perf_counter() - began
    results = {int(job): int(value) for job, value in client.hgetall("results").items()}
    assert results == {job: job * job for job in range(JOBS)}
    assert sorted(map(int, progress)) == list(range(JOBS))
    print(f"{JOBS} jobs, {WORKERS} workers: {seconds:.2f} s; "
          f"one after the other it would take {JOBS * DELAY:.2f} s")


if len(sys.argv) > 1:
    main(redis.Redis(port=int(sys.argv[1])))
else:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                                   "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(unix_socket_path=path)
            for _ in range(3000):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.01)
            main(client)
        finally:
            server.terminate()
            server.wait()
