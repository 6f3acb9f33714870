# SPDX-License-Identifier: MIT
"""How a function gets to another interpreter: by its name, or, where it has none there, as code.

What is importable is named: module and qualified name. A function of __main__, which other
interpreters cannot import, or one that is defined inside another function goes as code, with what
it reads of __main__: modules, functions, classes and plain constants, as they are at the call. A closure
is refused.
"""

import functools
import importlib
import marshal
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from microthread._core import CloneError

_PLAIN = (type(None), bool, int, float, complex, str, bytes)

# What is known of a function: ("name", module, qualname) or ("code", module, code, names it reads).
_known: weakref.WeakKeyDictionary[types.FunctionType, tuple] = weakref.WeakKeyDictionary()

# What was put into this interpreter's __main__ with a function, by name.
_brought: dict[str, Any] = {}


# ---- here ----


def describe(fn: Callable[..., Any]) -> tuple:
    """A message from which find() makes the function elsewhere. Raises CloneError for a closure."""
    if not callable(fn):
        raise TypeError(f"fn must be callable, got {type(fn).__name__}")
    if type(fn) is not types.FunctionType:
        return ("object", fn)
    known = _known.get(fn)
    if known is None:
        known = _known[fn] = _study(fn)
    return known if known[0] == "name" else _with_surroundings(fn, known, set())


def _study(fn):
    module, qualname = fn.__module__, fn.__qualname__
    if module != "__main__" and _resolve(sys.modules.get(module), qualname) is fn:
        return ("name", module, qualname)
    code = fn.__code__
    if code.co_freevars:
        raise CloneError(
            f"function {qualname!r} is a closure: it uses the variable {code.co_freevars[0]!r} of the "
            f"function around it; pass that as an argument"
        )
    return ("code", module, marshal.dumps(code), tuple(_names(code)))


def _resolve(module, qualname):
    try:
        return functools.reduce(getattr, qualname.split("."), module)
    except AttributeError:
        return None


def _names(code):
    """The global names that the code may read, in no order, that of inner functions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_names(constant))
    return names


def _with_surroundings(fn, known, seen):
    _, module, code, names = known
    around = {}
    if module == "__main__" and fn not in seen:
        seen.add(fn)
        for name in names:
            value = fn.__globals__.get(name)
            described = None if value is fn else _describe_global(value, seen)
            if described is not None:
                around[name] = described
    return ("code", module, code, fn.__name__, fn.__qualname__, fn.__defaults__,
            fn.__kwdefaults__, around)


def _describe_global(value, seen):
    if isinstance(value, types.ModuleType):
        return ("module", value.__name__)
    if isinstance(value, types.FunctionType):
        try:
            known = _known.get(value) or _study(value)
        except CloneError:
            return None  # a NameError there, if it is used
        return known if known[0] == "name" else _with_surroundings(value, known, seen)
    if isinstance(value, type | types.BuiltinFunctionType):
        module = getattr(value, "__module__", None)
        if module == "__main__" or _resolve(sys.modules.get(module), value.__qualname__) is not value:
            return None
        return ("name", module, value.__qualname__)
    return ("plain", value) if value is not None and type(value) in _PLAIN else None


# ---- there ----


@functools.lru_cache(1024)
def _find_named(module, qualname):
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))


@functools.lru_cache(1024)
def _load(code):
    return marshal.loads(code)


def find(described: tuple) -> Any:
    """The function that describe() has described elsewhere."""
    match described:
        case ("name", module, qualname):
            return _find_named(module, qualname)
        case ("object" | "plain", value):
            return value
        case ("module", name):
            return importlib.import_module(name)
    _, module, code, name, qualname, defaults, kwdefaults, around = described
    names = vars(importlib.import_module(module))
    for key, value in around.items():
        if key not in names or (key in _brought and _brought[key] != value):
            _brought[key] = value
            names[key] = find(value)
    fn = types.FunctionType(_load(code), names, name, defaults)
    fn.__kwdefaults__ = kwdefaults
    fn.__qualname__ = qualname
    fn.__module__ = module
    if module == "__main__" and (name not in names or name in _brought):
        _brought[name] = described
        names[name] = fn  # it may call itself
    return fn
