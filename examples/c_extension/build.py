# SPDX-License-Identifier: MIT
"""Compile an extension module that uses microthread's C API, with nothing but a C compiler.

    python build.py tally.c [folder]        makes folder/tally.cpython-….so
"""
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import microthread


def build(source, folder=".", options=()):
    """Compile a .c or .cc file into a module in the folder; returns its path."""
    source = Path(source)
    target = Path(folder) / (source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    variable, default = ("CXX", "c++") if source.suffix == ".cc" else ("CC", "cc")
    compiler = shlex.split(os.environ.get(variable, default))
    subprocess.run(
        [*compiler, "-shared", "-fPIC", "-pthread", "-O2", *options,
         "-I", microthread.get_include(),
         "-isystem", sysconfig.get_path("include"), "-isystem", sysconfig.get_path("platinclude"),
         source, "-o", target], check=True)
    return target


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(build(*sys.argv[1:]))
