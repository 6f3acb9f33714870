# SPDX-License-Identifier: MIT
"""SQLite from many micro-threads. Its calls block, so workers make them while the others run: [FILE]"""

import sqlite3
import sys

import microthread

WRITERS = 50
NOTES = 20  # by each of them


class Database:
    """A connection for all. One call at a time uses it, in a worker OS thread."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, check_same_thread=False)
        self.turn = microthread.Lock()

    def execute(self, *query):
        with self.turn:
            return microthread.run_blocking(self._execute, *query)

    def _execute(self, *query):
        with self.connection:  # a transaction
            return self.connection.execute(*query).fetchall()


def write(writer):
    for number in range(NOTES):
        database.execute("INSERT INTO note VALUES (?, ?)", (writer, f"note {number}"))


def tick():
    global ticks
    while True:
        microthread.sleep(0.001)
        ticks += 1


ticks = 0
database = Database(sys.argv[1] if len(sys.argv) > 1 else ":memory:")
database.execute("CREATE TABLE note (writer INTEGER, text TEXT)")
microthread.spawn(tick)  # the others go on
with microthread.Group() as group:
    for writer in range(WRITERS):
        group.spawn(write, writer)
((count, writers),) = database.execute("SELECT count(*), count(DISTINCT writer) FROM note")
assert ticks
print(f"{count} notes by {writers} writers")
