# SPDX-License-Identifier: MIT
"""Count primes on all cores: workers get a piece of the range as soon as they are done with another.

    primes_parallel.py [LIMIT [WORKERS]]
"""
import os
import sys
from functools import partial

import microthread
from microthread.interpreters import Worker

PIECES = 50
AHEAD = 2  # pieces that a worker has, so that it need not wait for the next one


def is_prime(number):
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return number > 1


def count_pieces():
    for first, last in microthread.worker.messages():
        microthread.worker.post_message((last - first, sum(map(is_prime, range(first, last)))))


class Search:
    def __init__(self, limit):
        step = max(limit // PIECES, 1)
        self.limit = limit
        self.pieces = ((first, min(first + step, limit)) for first in range(0, limit, step))
        self.done = self.found = 0
        self.finished = microthread.deferred()

    def feed(self, worker):
        piece = next(self.pieces, None)
        if piece is None:
            worker.close()
        else:
            worker.post_message(piece)

    def note(self, worker, message):
        size, found = message
        self.done += size
        self.found += found
        self.show_progress()
        if self.done == self.limit:
            self.finished.callback(self.found)
        self.feed(worker)

    def show_progress(self):
        if sys.stderr.isatty():
            bar = "#" * (self.done * 40 // self.limit)
            end = "\n" if self.done == self.limit else ""
            print(f"\r[{bar:.<40}] {self.done * 100 // self.limit:3} %", end=end, file=sys.stderr, flush=True)

    def run(self, count):
        for _ in range(count):
            worker = Worker(count_pieces)
            worker.on_message = partial(self.note, worker)
            worker.on_error = self.finished.errback
            for _ in range(AHEAD):
                self.feed(worker)
        return self.finished.wait()


def main(limit=50_000, count=os.cpu_count() or 1):
    found = Search(limit).run(count) if limit > 0 else 0
    print(f"{found} primes below {limit}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
