# SPDX-License-Identifier: MIT
"""cat FILE | grep WORD | sort | number, each a micro-thread, joined by pipes: [WORD [FILE]]

A pipe of capacity 0 hands over one line at a time: the file is read as fast as the rest can follow.
"""

import sys

from microthread import micro_pipe, spawn


def cat(path, out):
    with out, open(path, encoding="utf-8") as file:
        out.take_from(line.rstrip("\n") for line in file)


def grep(word, lines, out):
    with out:
        for line in lines:
            if word in line:
                out.put(line)


def sort(lines, out):
    with out:
        out.take_from(sorted(lines, key=str.strip))


def number(lines, out):
    with out:
        for count, line in enumerate(lines, 1):
            out.put(f"{count:4}  {line}")


def pipeline(word, path):
    """The last pipe of it: iterate to have the lines."""
    read, found, ordered, numbered = (micro_pipe(0) for _ in range(4))
    spawn(cat, path, read)
    spawn(grep, word, read, found)
    spawn(sort, found, ordered)
    spawn(number, ordered, numbered)
    return numbered


if __name__ == "__main__":
    word = sys.argv[1] if len(sys.argv) > 1 else "def "
    path = sys.argv[2] if len(sys.argv) > 2 else __file__
    for line in pipeline(word, path):
        print(line)
