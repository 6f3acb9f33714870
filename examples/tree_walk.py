# SPDX-License-Identifier: MIT
"""A generator whose callees put: walk a tree of folders, and a pipeline over what it finds."""

import os
import sys

from microthread import current, generate, put, take_from


def walk(folder):
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path)
            else:
                put(entry.path)


def grep(ending):
    for path in current().stdin:
        if path.endswith(ending):
            put(path)


def sort():
    take_from(sorted(current().stdin))


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "."
    ending = sys.argv[2] if len(sys.argv) > 2 else ".py"
    for path in generate(sort, stdin=generate(grep, ending, stdin=generate(walk, folder))):
        print(path)
