# SPDX-License-Identifier: MIT
"""Who is here: microthread and the peers, with their versions, or the reason why not."""

import os
import subprocess
import sys

from harness.build import BENCH

OURS = "microthread"
LIBRARIES = (OURS, "greenlet", "gevent", "asyncio", "uvloop", "trio")
NAMES = (*LIBRARIES, "go", "libev")

PROBE = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
if sys.argv[1] == 'microthread':
    module.spawn
if sys.argv[1] == 'asyncio':
    version = 'of Python ' + sys.version.split()[0]
else:
    try:
        version = module.__version__
    except AttributeError:
        from importlib.metadata import PackageNotFoundError, version as find
        try:
            version = find(sys.argv[1])
        except PackageNotFoundError:
            version = 'version unknown'
print(version)
"""


class Peer:
    """One of them: `version`, or `missing` with the reason."""

    def __init__(self, name, version=None, missing=None):
        self.name, self.version, self.missing = name, version, missing


def environment():
    """What the children get: ours is found where the caller says, or in the tree after `make`."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    tree = os.path.join(os.path.dirname(BENCH), "python")
    if os.path.isdir(tree) and not imports(OURS, env)[0]:
        found = dict(env, PYTHONPATH=os.pathsep.join(filter(None, (tree, env.get("PYTHONPATH")))))
        if imports(OURS, found)[0]:
            return found
    return env


def imports(name, env):
    """(version, None) when this interpreter can import it, else (None, the last line of the error)."""
    done = subprocess.run([sys.executable, "-c", PROBE, name], env=env, text=True, timeout=60,
                          capture_output=True, check=False, cwd="/")
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1], None
    lines = done.stderr.strip().splitlines()
    return None, lines[-1] if lines else f"the import ended with status {done.returncode}"


def tool_version(command):
    done = subprocess.run(command, text=True, capture_output=True, timeout=30, check=False)
    return done.stdout.strip()


def find(env, built):
    """All of them, {name: Peer}; `built` is what build_all returned."""
    peers = {name: Peer(name, *imports(name, env)) for name in LIBRARIES}
    path, why = built["go"]
    peers["go"] = Peer("go", path and tool_version(["go", "version"]).removeprefix("go version go"), why)
    path, why = built["libev"]
    peers["libev"] = Peer("libev", path and tool_version([path, "--version"]), why)
    return peers
