# SPDX-License-Identifier: MIT
"""Tests of files with each of the ways in which they can be read and written."""
import functools
import os
import pty
import threading

import pytest

from microthread import _core

BACKENDS = ["quickest", "uring", "threads"]


def open_pty():
    """Both ends of a new tty; the test is skipped where the system has none."""
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"no ttys here: {error}")


def on_each_backend(test):
    """Run the test once for each, in an OS thread of its own: a scheduler chooses at its first file."""

    @pytest.mark.parametrize("backend", BACKENDS)
    @functools.wraps(test)
    def run(backend, tmp_path, monkeypatch):
        failures = []

        def body():
            try:
                has = _core._file_backend()
                if backend in ("uring", "threads") and has != backend:
                    pytest.skip(f"this build or kernel has no {backend}")
                test(tmp_path)
            except BaseException as failure:
                failures.append(failure)

        monkeypatch.setitem(os.environ, "MICROTHREAD_FILES", backend)
        thread = threading.Thread(target=body)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        if failures:
            raise failures[0]

    del run.__wrapped__  # or pytest asks for the test's own parameters
    return run
