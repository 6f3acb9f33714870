# SPDX-License-Identifier: MIT
"""get_include(): where the header of the C API is."""

import os


def get_include() -> str:
    """The folder for the compiler's -I, by which it finds <microthread/microthread.h>."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
