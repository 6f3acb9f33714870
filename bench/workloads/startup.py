# SPDX-License-Identifier: MIT
"""What a program pays before its first line: the import of the package, and patch.all()."""

import os
import subprocess
import sys

TITLE = "Start-up"
NOTE = ("CPU time in a fresh interpreter: the import of the package, and after it the import of its patching and "
        "the patching of everything, with all that is imported for that. gevent's is monkey.patch_all().")
UNIT = "ms"
SCALE = False
TRIES = 7  # the least counts: the first may have to compile

PROGRAM = """
import time
begin = time.process_time()
{first}
middle = time.process_time()
{second}
print({shown})
"""
OURS = {"first": "import microthread", "second": "from microthread import patch; patch.all()"}
GEVENT = {"first": "import gevent", "second": "from gevent import monkey; monkey.patch_all()"}
CASES = {"import": {"shown": "middle - begin"}, "patch": {"shown": "time.process_time() - middle"}}
QUICK = tuple(CASES)


def measured(program, shown):
    """(CPU seconds, 1): the least of several fresh interpreters."""
    command = [sys.executable, "-c", PROGRAM.format(**program, shown=shown)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
               for _ in range(TRIES)]
    return min(map(float, outputs)), 1


def ours(count, shown):
    return measured(OURS, shown)


def gevent(count, shown):
    return measured(GEVENT, shown)


PEERS = {"microthread": ours, "gevent": gevent}
