# SPDX-License-Identifier: MIT
"""The rules of the house: DESIGN's floors and what STYLE asks of every file.

A rule is a function from a tree (a dict: path -> text) to the places that break it, as lines
"path:line: what is wrong". check_tree.py holds our files to them, check_rules.py proves that each
one can fail.
"""
import re
from pathlib import PurePath

from c_source import mutable_objects, without_comments

# What may be included, by room: a whole room, or one file of it.
MAY_INCLUDE = {
    "base": {"base"},
    "arch": {"base", "arch"},
    "core": {"base", "arch", "core"},
    # The table, and the clauses it is handed to trigger; nothing of scheduler or micro-threads.
    "reactor": {"base", "reactor", "core/mt_reactor.h", "core/mt_wait.h"},
    "io": {"base", "core", "io"},
    "group": {"base", "core", "group"},
    "python": {"base", "arch", "core", "reactor", "io", "group", "python",
               "microthread/microthread.h"},
}

# Mutable objects outside functions and automatic storage, and why each may be there.
MUTABLE_ALLOWED = {
    ("src/base/mt_alloc.c", "requests_left"):
        "the countdown of failure injection; thread-local, 0 outside tests",
    ("src/python/mtpy_sched.c", "mtpy_sched_here"):
        "the OS thread's current scheduler; thread-local, looked up by every call from Python",
}
# CPython wants its tables writable, and the keyword lists of its argument parser; nobody writes them.
TABLE_TYPES = re.compile(
    r"\bPy(MethodDef|GetSetDef|MemberDef|Type_Slot|Type_Spec|ModuleDef|ModuleDef_Slot|"
    r"StructSequence_Field|StructSequence_Desc)\b|\bchar \*\w+\[\]")

CODE_SUFFIXES = {".c", ".h", ".S", ".py", ".pyi", ".sh", ".go", ".m4", ".am", ".ac", ".toml"}
LONGEST_FILE = 600  # lines

RULES = []


def rule(function):
    RULES.append(function)
    return function


def room_of(path):
    """'core' for src/core/mt_pipe.c; None outside src/."""
    parts = PurePath(path).parts
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def c_files(tree):
    """Path and comment-free text of each C, header and assembly file below src/."""
    for path, text in tree.items():
        if room_of(path) and path.endswith((".c", ".h", ".S")):
            yield path, without_comments(text)


def code_files(tree):
    """Path and text of each file that is code, by suffix or by its first line."""
    for path, text in tree.items():
        if PurePath(path).suffix in CODE_SUFFIXES or text.startswith("#!"):
            yield path, text


def matches(text, pattern):
    """Line number and match of each place where the pattern stands."""
    for match in re.finditer(pattern, text, re.MULTILINE):
        yield text.count("\n", 0, match.start()) + 1, match


@rule
def rooms_include_only_what_is_below_them(tree):
    for path, text in c_files(tree):
        allowed = MAY_INCLUDE.get(room_of(path))
        if allowed is None:
            yield f"{path}:1: src/{room_of(path)} is not one of the rooms of DESIGN.md"
            continue
        for line, match in matches(text, r'^\s*#\s*include\s*"([^"]+)"'):
            file = match[1]
            if file.split("/")[0] not in allowed and file not in allowed:
                yield f'{path}:{line}: src/{room_of(path)} may not include "{file}"'


@rule
def only_src_python_knows_cpython(tree):
    for path, text in c_files(tree):
        if room_of(path) != "python":
            for line, match in matches(text, r"\b_?Py[A-Z_]\w*|\bPython\.h\b|\bpycore_\w+"):
                yield f"{path}:{line}: {match[0]} belongs in src/python"


@rule
def only_compat_knows_versions(tree):
    pattern = (r"\bpycore_\w+\.h|\bPY_VERSION_HEX\b|\bPY_(?:MAJOR|MINOR|MICRO)_VERSION\b"
               r"|\bPy_GIL_DISABLED\b|\bPy_BUILD_CORE\w*")
    for path, text in c_files(tree):
        if not re.match(r"src/python/mtpy_compat[._]", path):
            for line, match in matches(text, pattern):
                yield f"{path}:{line}: {match[0]} belongs in src/python/mtpy_compat*"


@rule
def public_header_stands_alone(tree):
    for path, text in tree.items():
        if not path.startswith("include/"):
            continue
        if path != "include/microthread/microthread.h":
            yield f"{path}:1: there is one public header, include/microthread/microthread.h"
        for line, match in matches(without_comments(text), r'^\s*#\s*include\s*(\S+)'):
            if match[1] not in ("<Python.h>", "<math.h>"):
                yield f"{path}:{line}: {match[1]} is not there where users compile this"


@rule
def only_reactor_ev_knows_libev(tree):
    for path, text in c_files(tree):
        if path != "src/reactor/reactor_ev.c":
            for line, match in matches(text, r'^\s*#\s*include\s*[<"](ev(?:\+\+)?\.h)[>"]'):
                yield f"{path}:{line}: {match[1]} belongs in src/reactor/reactor_ev.c"


@rule
def only_group_and_workers_know_os_threads(tree):
    for path, text in c_files(tree):
        if room_of(path) == "group" or (room_of(path) == "io" and "worker" in path):
            continue
        for line, match in matches(text, r'^\s*#\s*include\s*[<"]((?:pthread|threads)\.h)[>"]'):
            yield f"{path}:{line}: {match[1]} belongs in src/group or an io worker"


@rule
def no_mutable_objects_of_file_scope(tree):
    for path, text in tree.items():
        if room_of(path) in (None, "group") or not path.endswith((".c", ".h")):
            continue
        for line, name, declaration in mutable_objects(text):
            if (path, name) in MUTABLE_ALLOWED:
                continue
            if room_of(path) == "python" and TABLE_TYPES.search(declaration):
                continue
            yield f"{path}:{line}: {name} is mutable and not on the list in tests/lint/rules.py"


@rule
def code_begins_with_its_licence(tree):
    tag = "SPDX-License-Identifier: MIT"
    for path, text in code_files(tree):
        lines = text.split("\n", 2)
        first = lines[1] if text.startswith("#!") and len(lines) > 1 else lines[0]
        if tag not in first:
            yield f"{path}:1: the first line must say {tag}"


@rule
def files_are_short_enough_to_read(tree):
    for path, text in code_files(tree):
        lines = text.count("\n")
        if lines > LONGEST_FILE:
            yield f"{path}:{lines}: longer than {LONGEST_FILE} lines: two files in one?"


@rule
def nothing_is_left_open(tree):
    words = "TO" "DO|FIX" "ME|X" "XX|HA" "CK"
    for path, text in code_files(tree):
        # TAP's own directive, and the mktemp template of six letters, are other words.
        for line, match in matches(text, rf"\b(?:{words})\b(?!X)"):
            if not (match[0] == "TO" "DO" and path.startswith("tests/")):
                yield f"{path}:{line}: {match[0]}"


@rule
def no_paths_of_one_machine(tree):
    for path, text in tree.items():
        for line, match in matches(text, r"(?<![\w.$}*-])/(?:ro" r"ot|wo" r"rk|ho" r"me|Us" r"ers)/\w+"):
            yield f"{path}:{line}: {match[0]} is a path of one machine"


@rule
def no_package_registries(tree):
    hosts = r"\bpy" r"pi\.org|pythonho" r"sted\.org|crat" r"es\.io|npm" r"js\.(?:org|com)"
    for path, text in tree.items():
        for line, match in matches(text, hosts):
            yield f"{path}:{line}: {match[0]} is the name of a registry"


@rule
def one_version_everywhere(tree):
    places = {
        "configure.ac": r"AC_INIT\(\[microthread\], \[([^\]]+)\]",
        "pyproject.toml": r'^version = "([^"]+)"',
        "python/microthread/__init__.py": r'^__version__ = "([^"]+)"',
    }
    found = [(path, line, match[1]) for path, pattern in places.items()
             for line, match in matches(tree.get(path, ""), pattern)]
    for path, line, version in found:
        if version != found[0][2]:
            yield f"{path}:{line}: version {version}, but {found[0][0]} says {found[0][2]}"


def not_distributed(files, distributed):
    """Each file of the repository that `make dist` would leave out."""
    for path in sorted(set(files) - set(distributed)):
        yield f"{path}:1: not in the tarball: list it in Makefile.am"
