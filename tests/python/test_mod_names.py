# SPDX-License-Identifier: MIT
"""The stand-ins for standard modules: all names are there, nothing is loaded before it is used."""
import importlib
import inspect
import json

import pytest

import microthread
from support import check_script, run_script

MODULES = ("os", "select", "selectors", "signal", "socket", "ssl", "subprocess")


@pytest.fixture(params=MODULES)
def pair(request):
    return getattr(microthread, request.param), importlib.import_module(request.param)


def test_every_name_of_the_standard_module_is_there(pair):
    ours, standard = pair
    assert {name for name in vars(standard) if not name.startswith("_")} <= set(dir(ours))
    for name in getattr(standard, "__all__", ()):
        assert hasattr(ours, name), name


def test_replaced_names_are_names_of_the_standard_module_and_are_ours(pair):
    ours, standard = pair
    for name in getattr(ours, "__patched__", ()):
        for part in name.split("."):
            ours, standard = getattr(ours, part), getattr(standard, part, ours)
        assert ours is not standard, name
        ours, standard = pair


def test_replaced_functions_take_what_the_standard_ones_take(pair):
    ours, standard = pair
    for name in getattr(ours, "__patched__", ()):
        theirs = getattr(standard, name, None)
        if inspect.isclass(theirs) or theirs is None:
            continue
        try:
            signature = inspect.signature(theirs)
        except ValueError:
            continue  # C code that does not tell
        parameters = inspect.signature(getattr(ours, name)).parameters
        assert described(parameters) == described(signature.parameters), name


def described(parameters):
    """What a caller may rely on; the names of positional ones are nobody's business."""
    return [(one.kind, None if one.kind is one.POSITIONAL_ONLY else one.name)
            for one in parameters.values()]


def test_replaced_classes_are_subclasses_or_pass_for_them(pair):
    ours, standard = pair
    for name in getattr(ours, "__patched__", ()):
        theirs = getattr(standard, name, None)
        if inspect.isclass(theirs) and name != "epoll":
            assert issubclass(getattr(ours, name), theirs), name


def test_package_loads_none_of_them():
    done = run_script("""
        import sys
        before = set(sys.modules)
        import json, microthread
        print(json.dumps([name for name in set(sys.modules) - before]))
    """)
    loaded = json.loads(done.stdout)
    for name in MODULES:
        assert name not in loaded, loaded


@pytest.mark.parametrize("name", MODULES)
def test_module_is_an_attribute_without_an_import_of_its_own(name):
    check_script(f"""
        import microthread
        assert microthread.{name}.__name__ == "microthread.{name}"
        import microthread.{name} as module
        assert module is microthread.{name}
        from microthread import {name}
        assert {name} is module
        print("ok")
    """)


def test_select_is_a_function_and_a_module():
    check_script("""
        import sys
        before = set(sys.modules)
        import inspect
        import microthread
        from microthread import after, select
        assert "timeout" in inspect.signature(select).parameters
        assert microthread.select(after(0), timeout=1) == (0, None)
        import microthread.select as module
        assert module is select is microthread.select is sys.modules["microthread.select"]
        assert "_until" not in vars(select)
        assert select.POLLIN == 1 and "_until" in vars(select) and "epoll" in dir(select)
        assert select.select([], [], [], 0) == ([], [], [])
        assert select(after(0)) == (0, None)
        try:
            select.no_such_name
        except AttributeError as error:
            print("ok" if "no_such_name" in str(error) else error)
    """)
