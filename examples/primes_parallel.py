# SPDX-License-Identifier: MIT
"""Count primes on all cores: the range is cut into pieces, and interpreters take them as they can.

    primes_parallel.py [LIMIT [INTERPRETERS]]
"""
import os
import sys

from microthread import interpreters


def is_prime(number):
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return number > 1


def count_pieces(pieces, counts):
    with counts:
        for first, last in pieces:
            counts.send((first, sum(map(is_prime, range(first, last)))))


def main(limit=50_000, workers=os.cpu_count() or 1):
    pieces, pieces_in = interpreters.create_channel()
    counts, counts_in = interpreters.create_channel()
    step = max(limit // 50, 1)
    for first in range(0, limit, step):
        pieces_in.send((first, min(first + step, limit)))
    pieces_in.close()
    for _ in range(workers):
        interpreters.create().spawn(count_pieces, pieces, counts_in)
    counts_in.close()
    total = done = 0
    shows = sys.stderr.isatty()
    for first, count in counts:
        total += count
        done += min(step, limit - first)
        if shows:
            print(f"\r{done * 100 // limit:3} %", end="", file=sys.stderr, flush=True)
    if shows:
        print("\r", end="", file=sys.stderr, flush=True)
    print(f"{total} primes below {limit}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
