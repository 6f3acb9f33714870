# SPDX-License-Identifier: MIT
"""Proves that each rule can fail: it must report every bad example and no good one. Prints TAP."""
from rules import LONGEST_FILE, MUTABLE_ALLOWED, RULES, not_distributed
from tap import Tap

SPDX = "/* SPDX-License-Identifier: MIT */\n"

# rule -> (trees that break it, trees that do not)
EXAMPLES = {
    "rooms_include_only_what_is_below_them": (
        [{"src/base/mt_x.c": '#include "core/mt_sched.h"\n'},
         {"src/arch/mt_x.h": '#include "core/mt_sched.h"\n'},
         {"src/core/mt_x.c": '#include "reactor/reactor_ev.h"\n'},
         {"src/core/mt_x.c": '#include "python/mtpy.h"\n'},
         {"src/reactor/x.c": '#include "core/mt_sched.h"\n'},
         {"src/reactor/x.c": '#include "io/mt_io.h"\n'},
         {"src/io/x.c": '#  include "group/mt_channel.h"\n'},
         {"src/group/x.c": '#include "io/mt_io.h"\n'},
         {"src/core/mt_x.c": '#include "mt_sched.h"\n'},
         {"src/cellar/x.c": "int x(void);\n"}],
        [{"src/core/mt_x.c": '/* #include "io/mt_io.h" */\n#include "base/mt_list.h"\n'},
         {"src/reactor/x.c": '#include "core/mt_reactor.h"\n#include "base/mt_base.h"\n'},
         {"src/python/x.c": '#include "io/mt_io.h"\n#include "reactor/reactor_ev.h"\n'}]),
    "only_src_python_knows_cpython": (
        [{"src/core/x.c": "#include <Python.h>\n"},
         {"src/io/x.h": "PyObject *result;\n"},
         {"src/group/x.c": "_Py_Dealloc(x);\n"}],
        [{"src/python/x.c": "#include <Python.h>\nPyObject *result;\n"},
         {"src/core/x.c": "/* The PyObject is the host's. */\n"}]),
    "only_compat_knows_versions": (
        [{"src/python/mtpy_pipe.c": "#if PY_VERSION_HEX >= 0x030c0000\n#endif\n"},
         {"src/python/mtpy_pipe.c": "#include <internal/pycore_frame.h>\n"},
         {"src/python/mtpy_module.c": "#ifdef Py_GIL_DISABLED\n#endif\n"}],
        [{"src/python/mtpy_compat.c": "#include <internal/pycore_frame.h>\n#if PY_VERSION_HEX\n"}]),
    "public_header_stands_alone": (
        [{"include/microthread/other.h": "int x(void);\n"},
         {"include/microthread/microthread.h": '#include "base/mt_base.h"\n'},
         {"include/microthread/microthread.h": "#include <ev.h>\n"}],
        [{"include/microthread/microthread.h": "/* #include <ev.h> */\n#include <Python.h>\n"}]),
    "only_reactor_ev_knows_libev": (
        [{"src/reactor/reactor_virtual.c": "#include <ev.h>\n"},
         {"src/core/x.c": "# include <ev.h>\n"}],
        [{"src/reactor/reactor_ev.c": "#include <ev.h>\n"}]),
    "only_group_and_workers_know_os_threads": (
        [{"src/core/x.c": "#include <pthread.h>\n"}, {"src/io/mt_socket.c": "#include <threads.h>\n"}],
        [{"src/io/mt_worker.c": "#include <pthread.h>\n"},
         {"src/group/mt_channel.c": "#include <pthread.h>\n"}]),
    "no_mutable_objects_of_file_scope": (
        [{"src/core/x.c": "static int counter;\n"},
         {"src/core/x.c": "int counter = 3;\n"},
         {"src/core/x.c": "static _Thread_local struct mt_sched *current;\n"},
         {"src/core/x.c": "static void (*hook)(int);\n"},
         {"src/core/x.c": "static const char *names[] = {\"a\", \"b\"};\n"},
         {"src/core/x.c": "struct a { int b; } c;\n"},
         {"src/core/x.c": "static struct a c = {.b = (1)};\n"},
         {"src/core/x.c": "int\nf(void)\n{\n    static int calls;\n    return calls++;\n}\n"},
         {"src/core/x.c": "int f(void)\n{\n}\nstatic struct mt_list *all;\n"},
         {"src/python/x.c": "static PyObject *cache;\n"}],
        [{"src/core/x.c": "static const int limit = 3;\nstatic const char *const names[] = {\"a\"};\n"},
         {"src/core/x.c": "struct mt_sched;\nenum { A, B };\nstruct a {\n    int b;\n};\n"
                          "typedef int number;\nextern int other;\n"},
         {"src/core/x.c": "static int\nf(int a, char *b)\n{\n    int c = '{';\n    return c;\n}\n"
                          "int g(void);\nvoid *\nh(int a, void (*b)(int));\n_Static_assert(1, \"x\");\n"},
         {"src/core/x.c": "const struct mt_reactor_ops mt_ops = {\n    .name = \"v;\",\n};\n"
                          "static const struct { int a; } table[] = {{1}};\n"},
         {"src/core/x.c": "#define X \\\n    static int y;\n/* static int z; */\n"},
         {"src/group/x.c": "static int registry;\n"},
         {"src/python/x.c": "static PyMethodDef methods[] = {{\"a\", f, 0, NULL}};\n"},
         {"src/python/x.c": "int\nf(void)\n{\n    static char *keywords[] = {\"a\", NULL};\n}\n"}]
        + [{path: f"static _Thread_local int {name};\n"} for path, name in MUTABLE_ALLOWED]),
    "code_begins_with_its_licence": (
        [{"src/core/x.c": "/* What this is. */\n"}, {"x.py": '"""Nothing."""\n'}, {"x.py": ""},
         {"tool": "#!/bin/sh\necho\n"}],
        [{"src/core/x.c": SPDX}, {"tool": "#!/bin/sh\n# SPDX-License-Identifier: MIT\n"},
         {"docs/x.md": "# Title\n"}]),
    "files_are_short_enough_to_read": (
        [{"src/core/x.c": "\n" * (LONGEST_FILE + 1)}],
        [{"src/core/x.c": "\n" * LONGEST_FILE}, {"docs/x.md": "\n" * 2000}]),
    "nothing_is_left_open": (
        [{"src/core/x.c": "/* TO" "DO: free it */\n"}, {"python/x.py": "# FIX" "ME\n"},
         {"tests/python/x.py": "# X" "XX what\n"}],
        [{"x.sh": "mktemp -d /var/tmp/a." "XXXX" "XX\n"}]),
    "no_paths_of_one_machine": (
        [{"docs/x.md": "cd /ho" "me/anna/src\n"}, {"x.py": "open('/ro" "ot/x')\n"},
         {"x.sh": "ls /wo" "rk/main\n"}],
        [{"x.sh": "ls $build/root/package /usr/bin\n"}, {"x.md": "https://a.example/home/b\n"}]),
    "no_package_registries": (
        [{"README.md": "see https://py" "pi.org/project/x\n"}], [{"README.md": "pip install .\n"}]),
    "one_version_everywhere": (
        [{"configure.ac": "AC_INIT([microthread], [0.1.0])\n", "pyproject.toml": 'version = "0.2.0"\n'},
         {"configure.ac": "AC_INIT([microthread], [0.1.0])\n",
          "python/microthread/__init__.py": '__version__ = "0.1"\n'}],
        [{"configure.ac": "AC_INIT([microthread], [0.1.0])\n", "pyproject.toml": 'version = "0.1.0"\n'}]),
}


def main():
    tap = Tap()
    for rule in RULES:
        bad, good = EXAMPLES.get(rule.__name__, ([], []))
        blind = [f"not reported: {tree}" for tree in bad if not list(rule(tree))]
        tap.ok(bad and not blind, f"{rule.__name__} reports its {len(bad)} bad examples", blind)
        false = [report for tree in good for report in rule(tree)]
        tap.ok(not false, f"{rule.__name__} accepts its {len(good)} good examples", false)
    tap.ok(list(not_distributed(["a", "b"], ["a"])), "a file that make dist leaves out is reported")
    tap.ok(not list(not_distributed(["a"], ["a", "b"])), "a complete tarball is accepted")
    tap.print()


main()
