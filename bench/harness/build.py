# SPDX-License-Identifier: MIT
"""Builds the load generator, the libev server and the Go program in a directory of their own."""

import os
import shutil
import subprocess

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def attempt(command, **options):
    """Run a compiler; None when it worked, else its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
    return errors[0].strip() if errors else f"{command[0]} failed"


def compiler():
    """$CC, else the first that there is."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build_c(source, target, *libraries):
    """One C program; None, or why not."""
    cc = compiler()
    if cc is None:
        return "no C compiler"
    return attempt([*cc.split(), "-O2", "-o", target, os.path.join(BENCH, source), *libraries])


def build_go(target):
    """The Go program; None, or why not."""
    if shutil.which("go") is None:
        return "no go on PATH"
    env = dict(os.environ, GOFLAGS="-mod=mod", GOTOOLCHAIN="local", CGO_ENABLED="0")
    env.setdefault("GOCACHE", os.path.join(os.path.expanduser("~"), ".cache", "go-build"))
    return attempt(["go", "build", "-o", target, "."], cwd=os.path.join(BENCH, "go"), env=env)


def build_all(directory):
    """Build what can be built: {name: (path, None) or (None, why)} of load, libev and go."""
    def built(name, why, path):
        return name, ((path, None) if why is None else (None, why))

    load, libev, go = (os.path.join(directory, name) for name in ("load", "echo_libev", "gobench"))
    return dict((
        built("load", build_c("load.c", load), load),
        built("libev", build_c("echo_libev.c", libev, "-lev"), libev),
        built("go", build_go(go), go),
    ))
