# SPDX-License-Identifier: MIT
"""Transactions of many threads on MySQL or MariaDB; nothing here knows microthread: HOST PORT [USER [PASSWORD]]

    python examples/mysql_transfers.py 127.0.0.1 3306                   OS threads
    python -m microthread examples/mysql_transfers.py 127.0.0.1 3306    micro-threads, in one OS thread
"""

import random
import sys
import threading
import time

import pymysql

ACCOUNTS = 200
THREADS = 20
TRANSFERS = 5  # by each thread
DELAY = 0.02  # seconds that the server takes over one

server = {"user": "root", **dict(zip(("host", "port", "user", "password"), sys.argv[1:]))}
server["port"] = int(server["port"])


def connect(**options):
    return pymysql.connect(**server, **options)


def transfer(connection, source, target, amount):
    with connection.cursor() as cursor:
        for account, change in sorted([(source, -amount), (target, amount)]):  # or they lock each other out
            cursor.execute("UPDATE account SET amount = amount + %s WHERE id = %s", (change, account))
        cursor.execute("SELECT SLEEP(%s)", DELAY)
    connection.commit()


def work(number):
    chosen = random.Random(number)
    with connect(database="microthread_example") as connection:
        for _ in range(TRANSFERS):
            transfer(connection, *chosen.sample(range(ACCOUNTS), 2), chosen.randrange(100))


with connect(autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE DATABASE microthread_example")
    try:
        cursor.execute("USE microthread_example")
        cursor.execute("CREATE TABLE account (id INT PRIMARY KEY, amount INT)")
        cursor.executemany("INSERT INTO account VALUES (%s, 1000)", range(ACCOUNTS))
        began = time.perf_counter()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        cursor.execute("SELECT SUM(amount) FROM account")
        (total,) = cursor.fetchone()
        assert total == ACCOUNTS * 1000
    finally:
        cursor.execute("DROP DATABASE microthread_example")

count = THREADS * TRANSFERS
print(f"{count} transfers, {THREADS} threads: {seconds:.2f} s; "
      f"one after the other it would take {count * DELAY:.2f} s")
