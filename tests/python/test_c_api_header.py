# SPDX-License-Identifier: MIT
"""microthread.h: C and C++ without a warning, by get_include(); mt_import() and its errors."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microthread
from c_api_support import EXAMPLE, PEDANTIC, build
from support import check_script, child_environment, run_script

HEADER = Path(microthread.get_include(), "microthread", "microthread.h")

# Uses each function; in C and in C++.
EVERYTHING = r"""
#include <microthread/microthread.h>
#include <microthread/microthread.h>

static void work(void *arg) { *(int *)arg += 1; }
static PyObject *make(void *arg) { return PyLong_FromVoidPtr(arg); }
static void drop(void *arg) { (void)arg; }
static mt_body *reduce(PyObject *object) { (void)object; return NULL; }
static PyObject *rebuild(PyTypeObject *type, mt_body *body) { (void)type; (void)body; return NULL; }

static PyObject *
all(PyObject *module, PyObject *type)
{
    (void)module;
    int number = 41;
    mt_deferred *deferred = mt_deferred_ref(mt_deferred_new()), *other = mt_deferred_new();
    mt_body *body = mt_body_ref(mt_body_new(&number, drop));
    int is_well =
        mt_run_blocking(work, &number) == 0 && number == 42 && mt_sleep(0) == 0 &&
        mt_body_data(body) == (void *)&number &&
        mt_deferred_post(deferred, make, &number, drop) == 0 &&
        mt_deferred_callback(other, Py_None) == 0 && mt_deferred_errback(other, Py_None) == -1 &&
        mt_wait_fd(-1, MT_READABLE | MT_WRITABLE, 0) == -1 &&
        mt_register_clone((PyTypeObject *)type, reduce, rebuild) == 0;
    PyErr_Clear();
    Py_XDECREF(mt_deferred_object(other));
    PyObject *value = is_well ? mt_deferred_wait(deferred, MT_NO_TIMEOUT) : NULL;
    mt_body_unref(body);
    mt_body_unref(body);
    mt_deferred_unref(deferred);
    mt_deferred_unref(deferred);
    mt_deferred_unref(other);
    return value;
}

static PyMethodDef functions[] = {{"all", all, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef everything = {
    PyModuleDef_HEAD_INIT, "everything", NULL, 0, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit_everything(void)
{
    return mt_import() < 0 ? NULL : PyModule_Create(&everything);
}
"""


def use(folder):
    check_script(f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        import everything
        assert everything.all(set)
        print("ok")
    """)


@pytest.mark.parametrize("options", [("-std=c11",), ("-std=gnu17",),
                                     ("-std=c11", "-DPy_LIMITED_API=0x030b0000")], ids=" ".join)
def test_c_without_a_warning(tmp_path, options):
    source = tmp_path / "everything.c"
    source.write_text(EVERYTHING, encoding="utf-8")
    build(source, tmp_path, [*options, *PEDANTIC, "-Wstrict-prototypes"])
    use(tmp_path)


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "c++").split()[0]),
                    reason="no C++ compiler")
@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_cxx_without_a_warning(tmp_path, standard):
    source = tmp_path / "everything.cc"
    source.write_text(EVERYTHING, encoding="utf-8")
    build(source, tmp_path, [f"-std={standard}", *PEDANTIC])
    use(tmp_path)


def test_files_of_one_module_share_what_is_imported(tmp_path):
    other = tmp_path / "other.c"
    other.write_text('#include <microthread/microthread.h>\n'
                     'int nap(void);\nint nap(void) { return mt_sleep(0); }\n', encoding="utf-8")
    source = tmp_path / "everything.c"
    source.write_text(EVERYTHING.replace("mt_sleep(0)", "nap()").replace(
        "static void work", "int nap(void);\nstatic void work"), encoding="utf-8")
    build(source, tmp_path, [str(other)])
    use(tmp_path)


def test_call_without_import_is_a_clear_fatal_error(tmp_path):
    source = tmp_path / "everything.c"
    source.write_text(EVERYTHING.replace("mt_import() < 0", "0"), encoding="utf-8")
    build(source, tmp_path)
    done = run_script(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
                      "import everything; everything.all(set)")
    assert done.returncode < 0 and "mt_import() has not been called" in done.stderr, done


@pytest.mark.parametrize("version, said", [
    (99, "version 99 of microthread's C API is wanted, but the microthread that is there has "
         "version 1, and serves from version 1 on"),
    (0, "version 0 of microthread's C API is wanted, but the microthread that is there has version")])
def test_another_version_is_an_import_error(tmp_path, version, said):
    text = HEADER.read_text(encoding="utf-8")
    changed = text.replace("#define MT_API_VERSION 1\n", f"#define MT_API_VERSION {version}\n")
    assert changed != text
    folder = tmp_path / "include" / "microthread"
    folder.mkdir(parents=True)
    (folder / "microthread.h").write_text(changed, encoding="utf-8")
    build(EXAMPLE / "tally.c", tmp_path, ["-I", str(folder.parent)])
    import_tally(tmp_path, "", said)


def test_missing_microthread_is_an_import_error(tmp_path):
    build(EXAMPLE / "tally.c", tmp_path)
    import_tally(tmp_path, "", "version 1 of microthread's C API is wanted, but microthread is not "
                 "there: No module named 'microthread'", env={"PYTHONPATH": ""})


def test_microthread_without_a_c_api_is_an_import_error(tmp_path):
    build(EXAMPLE / "tally.c", tmp_path)
    import_tally(tmp_path, "for name in ('microthread', 'microthread._core'):\n"
                 "            sys.modules[name] = types.ModuleType(name)",
                 "version 1 of microthread's C API is wanted, but the microthread that is there has no "
                 "C API")


def import_tally(folder, before, said, **options):
    check_script(f"""
        import sys, types
        sys.path.insert(0, {str(folder)!r})
        {before}
        try:
            import tally
        except ImportError as error:
            assert {said!r} in str(error), error
            print("ok")
    """, **options)


def test_example_is_built_from_the_command_line(tmp_path):
    environment = child_environment()
    command = [sys.executable, EXAMPLE / "build.py", EXAMPLE / "tally.c", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done
    assert Path(done.stdout.strip()).parent == tmp_path
    done = subprocess.run(command[:2], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "python build.py" in done.stderr


def test_page_shows_what_the_example_says():
    page = EXAMPLE.parents[1] / "docs" / "c_api.md"
    source = (EXAMPLE / "tally.c").read_text(encoding="utf-8")
    blocks = page.read_text(encoding="utf-8").split("```c\n")[1:]
    assert len(blocks) >= 4
    for block in blocks:
        for part in block.split("```")[0].split("\n...\n"):
            assert part.strip("\n") in source, part
