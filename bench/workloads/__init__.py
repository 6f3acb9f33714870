# SPDX-License-Identifier: MIT
"""The workloads, one module each, in the order in which they are run and reported.

A workload module has

    TITLE, NOTE   what it is, in a line; what a reader must know to judge it
    UNIT          of its values
    CASES         name -> keyword arguments of the functions below
    PEERS         label -> function(count, **case) that returns (CPU seconds, operations)

and, where the usual does not fit: NEEDS (label -> the peer that must be installed, when the label
is not its name), GO (the Go program has this workload, too), SCALE (False: count means nothing and
the function runs once), START and MOST (the first count tried, the largest allowed), QUICK (the
cases of --quick), ROUNDS (at most so many), IS_SPREAD (True: the server leaves its CPU for all there
are), skip(case, label) -> why this pair is left out, or None.
Peers are imported inside the functions, so that the program can list what is not installed.
"""

import importlib

NAMES = ("floor", "startup", "switch", "spawn", "group", "memory", "pipe", "sync", "scope", "sieve",
         "timers", "parallel_map", "clone", "channel", "ping_pong", "interpreters", "cores", "files", "echo",
         "echo_cores", "churn", "http", "tls_echo", "gunicorn")


def load(name):
    """The module of one workload."""
    return importlib.import_module(f"workloads.{name}")
