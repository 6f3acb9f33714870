# SPDX-License-Identifier: MIT
"""The prime sieve: a chain of filters, one micro-thread for each prime found: [COUNT]

After M. D. McIlroy (1968) by way of Hoare's CSP: each filter passes on what its prime does not
divide; the first number that comes through is the next prime.
"""

import sys
from itertools import count

from microthread import micro_pipe, spawn


def sift(prime, numbers, out):
    for number in numbers:
        if number % prime:
            out.put(number)


def primes(how_many):
    numbers = micro_pipe(0)
    spawn(numbers.take_from, count(2))
    for _ in range(how_many):
        prime = numbers.take()
        yield prime
        rest = micro_pipe(0)
        spawn(sift, prime, numbers, rest)
        numbers = rest


if __name__ == "__main__":
    how_many = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(*primes(how_many))
