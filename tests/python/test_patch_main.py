# SPDX-License-Identifier: MIT
"""python -m microthread: a program runs patched, and otherwise as python runs it."""
import signal
import subprocess
import sys
import zipfile

import pytest

from support import child_environment

PROGRAM = """\
import sys, threading, time, microthread
from microthread import patch
assert patch.is_patched("threading") and patch.is_patched("time")
if __name__ == "__main__":
    print(sys.argv, __name__, sys.modules["__main__"].__dict__ is globals(), sys.path[0] == {folder!r})
    thread = threading.Thread(target=time.sleep, args=(0.001,))
    thread.start(); thread.join()
    print(microthread.stats()["spawned"])
"""


def run(*args, cwd, options=(), stdin="", ours=True):
    command = [sys.executable, *options, *(["-m", "microthread"] if ours else []), *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=child_environment(), input=stdin, text=True,
                          capture_output=True, timeout=60)


@pytest.fixture
def folder(tmp_path):
    tmp_path = tmp_path.resolve()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "script.py").write_text(PROGRAM.format(folder=str(tmp_path / "sub")))
    (tmp_path / "module.py").write_text(PROGRAM.format(folder=str(tmp_path)))
    return tmp_path


def test_script_runs_patched_with_its_own_argv_and_path(folder):
    done = run("sub/script.py", "-x", "--help", cwd=folder)
    assert done.stdout == "['sub/script.py', '-x', '--help'] __main__ True True\n1\n", done.stderr
    assert done.returncode == 0 and not done.stderr


def test_module_runs_patched(folder):
    done = run("-m", "module", "a", "b", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"['{folder}/module.py', 'a', 'b'] __main__ True True\n1\n"


def test_code_runs_patched(folder):
    done = run("-c", "import sys, time, microthread; print(sys.argv, time.sleep is microthread.sleep)",
               "x", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "['-c', 'x'] True\n"), done.stderr


def test_folder_and_archive_run_their_main(folder):
    (folder / "sub" / "__main__.py").write_text("import sys\nprint(sys.argv, sys.path[0], __name__)")
    done = run("sub", 1, cwd=folder)
    assert done.stdout == "['sub', '1'] sub __main__\n", done.stderr
    with zipfile.ZipFile(folder / "x.pyz", "w") as archive:
        archive.write(folder / "sub" / "__main__.py", "__main__.py")
    done = run("x.pyz", cwd=folder)
    assert done.stdout == "['x.pyz'] x.pyz __main__\n", done.stderr


@pytest.mark.parametrize("program", [
    "1 / 0",
    "def f():\n    raise ValueError('x')\ntry:\n    f()\nexcept ValueError:\n    raise KeyError from None",
    "raise SystemExit(3)",
    "raise SystemExit('text')",
    "import sys\nsys.exit()",
    "def f(:",
    "import sys\nsys.excepthook = lambda k, v, tb: print(k, tb.tb_lineno)\n1 / 0",
    "import no_such_module",
])
def test_end_is_as_without(folder, program):
    (folder / "p.py").write_text(program)
    for args in (["p.py"], ["-m", "p"]):
        plain, ours = run(*args, cwd=folder, ours=False), run(*args, cwd=folder)
        assert ours.returncode == plain.returncode and ours.stdout == plain.stdout
        assert ours.stderr == plain.stderr


def test_interrupted_program_dies_of_the_signal(folder):
    (folder / "p.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile 1: pass")
    done = run("p.py", cwd=folder)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr


def test_missing_script_is_status_2(folder):
    plain, ours = run("none.py", cwd=folder, ours=False), run("none.py", cwd=folder)
    assert ours.returncode == plain.returncode == 2 and ours.stderr == plain.stderr


@pytest.mark.parametrize("args, text", [
    ([], "there is no program to run"),
    (["-m"], "argument expected for the -m option"),
    (["-c"], "argument expected for the -c option"),
    (["--", ], "there is no program to run"),
    (["--nothing", "x", "p.py"], "unknown option --nothing"),
])
def test_wrong_usage_is_status_2(tmp_path, args, text):
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("usage: python -m microthread") and text in done.stderr


def test_help_and_version(tmp_path):
    import microthread

    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m microthread [--trace FILE] script.py")
    done = run("--version", cwd=tmp_path)
    assert done.stdout == f"microthread {microthread.__version__} (Python {sys.version.split()[0]})\n"


def test_non_daemon_threads_end_the_program(folder):
    (folder / "p.py").write_text("import threading, time\nname = 'main'\n"
                                 "threading.Thread(target=lambda: (time.sleep(0.02), print(name))).start()")
    done = run("p.py", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "main\n", "")


def test_pickled_classes_of_the_program_are_of_main(folder):
    (folder / "p.py").write_text("import pickle\nclass A: pass\n"
                                 "print(type(pickle.loads(pickle.dumps(A()))) is A, __file__, __spec__)")
    done = run("p.py", cwd=folder)
    assert done.stdout == f"True {folder}/p.py None\n", done.stderr
