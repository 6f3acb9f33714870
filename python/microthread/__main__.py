# SPDX-License-Identifier: MIT
"""python -m microthread: run a program with the standard library patched."""

import os
import sys
from types import ModuleType, TracebackType
from typing import Any, NoReturn

USAGE = """\
usage: python -m microthread [--trace FILE] script.py [argument ...]
       python -m microthread [--trace FILE] -m module [argument ...]
       python -m microthread [--trace FILE] -c code [argument ...]
       python -m microthread --help | --version

Run a Python program with the standard library patched: its blocking calls become
waits of a micro-thread, and its threads are micro-threads. With --trace, write a
timeline of these to FILE, for https://ui.perfetto.dev or chrome://tracing.
"""


trace_path = ""  # where --trace says that the timeline goes


def main() -> None:
    """Run what the command line names, as python itself would."""
    global trace_path
    arguments = sys.argv[1:]
    if arguments and arguments[0].partition("=")[0] == "--trace":
        option, equals, trace_path = arguments.pop(0).partition("=")
        if not equals and arguments:
            trace_path = arguments.pop(0)
        if not trace_path:
            fail("argument expected for the --trace option")
    if not arguments:
        fail("there is no program to run")
    first = arguments[0]
    if first in ("-h", "--help"):
        print(USAGE, end="")
    elif first in ("-V", "--version"):
        import microthread

        print(f"microthread {microthread.__version__} (Python {sys.version.split()[0]})")
    elif first in ("-m", "-c"):
        if len(arguments) < 2:
            fail(f"argument expected for the {first} option")
        run = run_module if first == "-m" else run_code
        run(arguments[1], arguments[2:])
    elif first.startswith("-") and first != "--":
        fail(f"unknown option {first}")
    else:
        names = arguments[1:] if first == "--" else arguments
        if not names:
            fail("there is no program to run")
        run_script(names[0], names[1:])


def fail(text: str) -> NoReturn:
    """End with the usage and status 2."""
    sys.stderr.write(f"{USAGE}\npython -m microthread: {text}\n")
    sys.exit(2)


def run_module(name: str, arguments: list[str]) -> None:
    """As python -m name."""
    import runpy

    prepare()
    sys.argv = ["-m", *arguments]  # runpy puts the file's name there
    call(runpy._run_module_as_main, name)


def run_code(code: str, arguments: list[str]) -> None:
    """As python -c code."""
    if not sys.flags.safe_path:
        sys.path[0] = ""
    sys.argv = ["-c", *arguments]
    call(execute, compile_or_exit(code, "<string>"), prepare())


def run_script(path: str, arguments: list[str]) -> None:
    """As python path: a file, or a folder or archive with a __main__.py."""
    sys.argv = [path, *arguments]
    try:
        with open(path, "rb") as file:
            is_archive = file.read(4) == b"PK\3\4"
            file.seek(0)
            source = b"" if is_archive else file.read()
    except IsADirectoryError:
        is_archive = True
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: "
                         f"[Errno {error.errno}] {error.strerror}\n")
        sys.exit(2)
    if is_archive:
        import runpy

        prepare()
        if sys.flags.safe_path:
            sys.path.insert(0, path)
        else:
            sys.path[0] = path
        call(runpy._run_module_as_main, "__main__", False)
        return
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    code = compile_or_exit(source, os.path.abspath(path))
    from importlib.machinery import SourceFileLoader

    namespace = prepare()
    namespace.update(__file__=os.path.abspath(path), __cached__=None,
                     __loader__=SourceFileLoader("__main__", path))
    call(execute, code, namespace)


def compile_or_exit(source: str | bytes, name: str) -> Any:
    """The code; a syntax error is shown without a traceback, as python does."""
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        sys.exit(1)


def prepare() -> dict[str, Any]:
    """Patch, and make a new __main__; returns its namespace."""
    from microthread import _core, patch

    patch.all()
    if trace_path:
        try:
            _core._begin_trace(trace_path)  # ends with the interpreter
        except OSError as error:
            fail(f"cannot write the trace to {trace_path!r}: {error.strerror}")
    import builtins

    new = ModuleType("__main__")
    vars(new).update(__builtins__=builtins, __annotations__={})
    new.__microthread__ = sys.modules["__main__"]  # which must stay
    sys.modules["__main__"] = new
    return vars(new)


def execute(code: Any, namespace: dict[str, Any]) -> None:
    """The last frame of ours in a traceback."""
    exec(code, namespace)


def call(fn: Any, *args: Any) -> None:
    """Call it; what it raises is shown without our frames."""
    try:
        fn(*args)
    except SystemExit:
        raise
    except BaseException:
        hook = sys.excepthook

        def show(kind: Any, error: BaseException, traceback: TracebackType | None) -> None:
            traceback = without_ours(traceback)
            hook(kind, error.with_traceback(traceback), traceback)

        sys.excepthook = show
        raise


def without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """What comes after the last frame of this file."""
    entry = rest = traceback
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == __file__:
            rest = entry.tb_next
        entry = entry.tb_next
    return rest


if __name__ == "__main__":
    main()
