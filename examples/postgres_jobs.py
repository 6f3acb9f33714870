# SPDX-License-Identifier: MIT
"""Workers that take jobs from a table in PostgreSQL; nothing here knows microthread: DSN

    python examples/postgres_jobs.py "host=127.0.0.1 user=postgres"                   OS threads
    python -m microthread examples/postgres_jobs.py "host=127.0.0.1 user=postgres"    micro-threads, in one OS thread
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2

JOBS = 100
WORKERS = 20
DELAY = 0.02  # seconds that the server takes over one

DSN = sys.argv[1]
TAKE = """
    DELETE FROM microthread_jobs WHERE id = (
        SELECT id FROM microthread_jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
    ) RETURNING id, pg_sleep(%s)
"""


def work(_):
    done = []
    with closing(psycopg2.connect(DSN)) as connection:
        while True:
            with connection, connection.cursor() as cursor:  # a transaction: a job is done, or is there again
                cursor.execute(TAKE, (DELAY,))
                taken = cursor.fetchone()
                if taken is None:
                    return done
                done.append(taken[0])


with closing(psycopg2.connect(DSN)) as connection:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE microthread_jobs (id int PRIMARY KEY)")
        try:
            cursor.execute("INSERT INTO microthread_jobs SELECT generate_series(1, %s)", (JOBS,))
            began = time.perf_counter()
            with ThreadPoolExecutor(WORKERS) as pool:
                done = list(pool.map(work, range(WORKERS)))
            seconds = time.perf_counter() - began
        finally:
            cursor.execute("DROP TABLE microthread_jobs")

assert sorted(sum(done, [])) == list(range(1, JOBS + 1))
print(f"{JOBS} jobs, {WORKERS} workers: {seconds:.2f} s; "
      f"one after the other it would take {JOBS * DELAY:.2f} s")
