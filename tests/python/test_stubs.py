# SPDX-License-Identifier: MIT
"""_core.pyi says what the extension module has: the same names, methods and parameters."""
import ast
import inspect
import pathlib

import pytest

import microthread
from microthread import _core

STUB = pathlib.Path(__file__).resolve().parents[2] / "python" / "microthread" / "_core.pyi"
TREE = ast.parse(STUB.read_text(encoding="utf-8"))
ONLY_IN_STUB = {"HasFileno"}  # a protocol for the reader
ONLY_IN_MODULE = {"ends", "parcel", "worker"}  # for the package's own files


def parameters_of_stub(function):
    arguments = function.args
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    if arguments.vararg:
        names.append(arguments.vararg.arg)
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(arguments.kwarg.arg)
    return names


def functions_of(body):
    return [node for node in body if isinstance(node, ast.FunctionDef)]


def methods():
    for node in TREE.body:
        if not isinstance(node, ast.ClassDef) or node.name in ONLY_IN_STUB:
            continue
        for function in functions_of(node.body):
            if not function.name.startswith("__"):
                yield pytest.param(node.name, function, id=f"{node.name}.{function.name}")


def test_module_and_stub_have_the_same_names():
    stub = {node.name for node in TREE.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    module = {name for name in vars(_core) if not name.startswith("_")}
    assert stub - ONLY_IN_STUB == module - ONLY_IN_MODULE


@pytest.mark.parametrize("function", functions_of(TREE.body), ids=lambda function: function.name)
def test_function_has_the_parameters_of_its_stub(function):
    signature = inspect.signature(getattr(_core, function.name))
    assert list(signature.parameters) == parameters_of_stub(function)


@pytest.mark.parametrize("name, function", methods())
def test_method_has_the_parameters_of_its_stub(name, function):
    member = inspect.getattr_static(getattr(_core, name), function.name)
    if any(getattr(one, "id", "") == "property" for one in function.decorator_list):
        assert inspect.isgetsetdescriptor(member)
        return
    assert list(inspect.signature(member).parameters) == parameters_of_stub(function)


@pytest.mark.parametrize("name", [node.name for node in TREE.body
                                  if isinstance(node, ast.ClassDef)
                                  and node.name not in ONLY_IN_STUB])
def test_public_members_are_in_the_stub(name):
    node = next(node for node in TREE.body if getattr(node, "name", None) == name)
    kind = getattr(_core, name)
    if issubclass(kind, BaseException | tuple):
        return
    stub = {one.name for one in functions_of(node.body)}
    stub |= {one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
    aliases = {"acquire_lock", "release_lock", "locked_lock", "isSet"}  # threading's old names
    assert {one for one in vars(kind) if not one.startswith("_")} - aliases == {
        one for one in stub if not one.startswith("__")}


def test_all_names_of_the_package_exist():
    for name in microthread.__all__:
        assert getattr(microthread, name) is not None


def test_socket_module_is_an_attribute_of_the_package():
    from support import check_script

    check_script("""
        import microthread
        assert issubclass(microthread.socket.socket, __import__("socket").socket)
        print("ok")
    """)
