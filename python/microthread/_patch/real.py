# SPDX-License-Identifier: MIT
"""A second threading module, whose threads are OS threads while the standard one's are not."""

import builtins
import importlib
import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

from microthread._patch import threads

_NAME = "microthread._patch.real_threading"
_threading: ModuleType | None = None  # made at the first use


def threading() -> ModuleType:
    """The standard threading module, loaded once more over the original _thread."""
    global _threading
    if _threading is None:
        _threading = _load()
    return _threading


def _load() -> ModuleType:
    spec = importlib.util.find_spec("threading")
    module = ModuleType(_NAME, spec.loader.get_code("threading").co_consts[0])
    module.__file__ = spec.origin
    leaves = SimpleNamespace(**threads._real)
    if hasattr(leaves, "_set_sentinel"):  # the calling OS thread has its own already
        leaves._set_sentinel = leaves.allocate_lock

    def import_(name: str, *args: Any, **kwargs: Any) -> Any:
        return leaves if name == "_thread" else builtins.__import__(name, *args, **kwargs)

    vars(module)["__builtins__"] = {**vars(builtins), "__import__": import_}
    exec(spec.loader.get_code("threading"), vars(module))
    if hasattr(module, "_set_sentinel"):
        module._set_sentinel = threads._real["_set_sentinel"]
        module._shutdown_locks.discard(module._main_thread._tstate_lock)
    # The process waits for its threads as for those of the standard one, in a worker.
    standard = importlib.import_module("threading")
    standard._register_atexit(threads.wait_elsewhere, module._shutdown)
    return module
