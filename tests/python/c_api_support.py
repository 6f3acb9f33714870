# SPDX-License-Identifier: MIT
"""Builds the extension modules that test_c_api*.py run, by examples/c_extension/build.py."""
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from support import check_script

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "c_extension"
PEDANTIC = ("-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Werror")

if not shutil.which(os.environ.get("CC", "cc").split()[0]):
    pytest.skip("no C compiler", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("build", EXAMPLE / "build.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


def build(source, folder, options=()):
    """Compile one, without what is preloaded for the tests; returns its path."""
    preloaded = os.environ.pop("LD_PRELOAD", None)
    try:
        return _module.build(source, folder, options)
    finally:
        if preloaded is not None:
            os.environ["LD_PRELOAD"] = preloaded


def build_probe(folder):
    """The folder, with tally and capi_probe in it."""
    build(EXAMPLE / "tally.c", folder)
    build(HERE / "data" / "capi_probe.c", folder, ["-Wall", "-Wextra", "-Werror"])
    return folder


START = """
import sys
sys.path.insert(0, {!r})
import microthread
from microthread import *
from microthread import interpreters
from capi_probe import *

def settle(*waiters):
    # A stress build yields oftener than others do.
    while any(waiter.state != "waiting" for waiter in waiters):
        yield_now()

def until(condition):
    # What another OS thread does comes when it comes; the process has a time limit.
    while not condition():
        sleep(0.01)

def raised(kind, fn, *args):
    try:
        fn(*args)
    except kind as error:
        return str(error)
    raise AssertionError(f"{{fn}} did not raise {{kind}}")
"""


def check(folder, body, expected="ok\n", **options):
    """A script over capi_probe that must print ok, in a process of its own."""
    check_script(START.format(str(folder)) + body + "\nprint('ok')\n", expected,
                 **{"timeout": 60, **options})
