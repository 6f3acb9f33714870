# SPDX-License-Identifier: MIT
"""Interpreters paint one picture, the Mandelbrot set, into memory that they share: no pixel is copied.

    shared_image.py [WIDTH [HEIGHT [INTERPRETERS]]]

numpy, which loads in the main interpreter only, sees the same memory; without it memoryview does.
"""
import os
import sys

from microthread import parallel_map
from microthread.interpreters import SharedBuffer

try:
    import numpy
except ImportError:
    numpy = None

DEPTH = 100  # steps after which a point counts as one of the set
SHADES = " .:-=+*#%@"


def paint(image, width, height, row):
    """One row: for each point the steps in which it escapes."""
    with memoryview(image)[row * width : (row + 1) * width] as pixels:
        for column in range(width):
            point = complex(3 * column / width - 2.2, 2.4 * row / height - 1.2)
            value, steps = 0j, 0
            while steps < DEPTH and abs(value) < 2:
                value = value * value + point
                steps += 1
            pixels[column] = steps


def points_inside(image):
    if numpy is None:
        return bytes(image).count(DEPTH)
    return int((numpy.frombuffer(image, dtype="uint8") == DEPTH).sum())


def main(width=72, height=30, count=os.cpu_count() or 1):
    image = SharedBuffer(width * height)
    parallel_map(paint, [image] * height, [width] * height, [height] * height, range(height),
                 limit=4 * count, interpreters=count)
    for row in memoryview(image).cast("B", (height, width)).tolist():
        print("".join(SHADES[steps * (len(SHADES) - 1) // DEPTH] for steps in row).rstrip())
    print(f"{points_inside(image)} of {width * height} points are inside")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
