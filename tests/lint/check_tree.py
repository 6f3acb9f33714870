# SPDX-License-Identifier: MIT
"""Holds every file of ours to the rules, and the tarball to the repository. Prints TAP."""
import os
import re
import subprocess
from pathlib import Path

from rules import RULES, not_distributed
from tap import Tap

SOURCE = Path(os.environ["MT_SRCDIR"])
BUILD = Path(os.environ["MT_BUILDDIR"])
GENERATED = re.compile(
    r"(?:.*/)?Makefile\.in|aclocal\.m4|configure|PKG-INFO|m4/l\S+\.m4|"
    r"build-aux/(?:ar-lib|compile|config\.guess|config\.sub|depcomp|install-sh|ltmain\.sh|missing|"
    r"tap-driver\.sh|test-driver)")


def distributed():
    """What `make dist` puts into the tarball."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    output = subprocess.run(
        [os.environ.get("MT_MAKE", "make"), "-s", "--no-print-directory", "print-distributed"],
        cwd=BUILD, env=environment, check=True, capture_output=True, text=True)
    return output.stdout.split()


def in_repository():
    """The files under version control or about to be; None where there is no repository."""
    if not (SOURCE / ".git").exists():
        return None
    try:
        output = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others",
             "--exclude-standard"],
            cwd=SOURCE, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [path for path in output.stdout.splitlines() if (SOURCE / path).exists()]


def read(paths):
    """The tree that the rules see; what is no text is left out."""
    tree = {}
    for path in paths:
        try:
            tree[path] = (SOURCE / path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            pass
    return tree


def main():
    tap = Tap()
    in_tarball = distributed()
    repository = in_repository()
    files = repository or [path for path in in_tarball if not GENERATED.fullmatch(path)]
    tree = read(files)
    tap.ok(len(tree) > 50, f"the tree is seen: {len(tree)} files")
    for rule in RULES:
        broken = list(rule(tree))
        tap.ok(not broken, rule.__name__, broken)
    missing = list(not_distributed(repository or [], in_tarball))
    tap.ok(not missing, "every file is in the tarball", missing,
           skip=None if repository else "no git repository here")
    tap.print()


main()
