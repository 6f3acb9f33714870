# SPDX-License-Identifier: MIT
"""Many interpreters: what travels between them is a structured clone."""

from microthread._core import CloneError, SharedBuffer, clone, register_clone

__all__ = ["CloneError", "SharedBuffer", "clone", "register_clone"]
