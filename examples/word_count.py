# SPDX-License-Identifier: MIT
"""Count the words of a large file on all cores: each member of a group counts a piece of it.

    word_count.py [FILE [INTERPRETERS]]
"""
import os
import re
import sys
from collections import Counter

from microthread import Group

PIECES = 8  # for each interpreter: who is fast takes more of them
WORD = rb"\w+"


def count_words(path, first, last):
    """The words of the lines that begin between two offsets."""
    words = Counter()
    with open(path, "rb") as file:
        file.seek(max(first - 1, 0))
        if first > 0:
            file.readline()  # the line that has begun before belongs to the piece before
        while file.tell() < last and (line := file.readline()):
            words.update(re.findall(WORD, line.lower()))
    return words


def main(path=__file__, count=os.cpu_count() or 1):
    size = os.path.getsize(path)
    cuts = [size * n // (PIECES * count) for n in range(PIECES * count + 1)]
    total = Counter()
    with Group(limit=2 * count, interpreters=count) as group:
        for words in group.map(count_words, [path] * len(cuts), cuts, cuts[1:]):
            total += words
    for word, number in sorted(total.most_common(), key=lambda item: (-item[1], item[0]))[:10]:
        print(f"{number:7} {word.decode(errors='replace')}")


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__
    main(path, *map(int, sys.argv[2:]))
