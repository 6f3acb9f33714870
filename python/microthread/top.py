# SPDX-License-Identifier: MIT
"""python -m microthread.top: a live table of the micro-threads of another process."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from microthread._serving import parse_address, runtime_folders

USAGE = """\
usage: python -m microthread.top [--interval SECONDS] PID | ADDRESS

Show the micro-threads of a process that has called microthread.serve_top() or was started
with MICROTHREAD_TOP=1. ADDRESS is what serve_top() returned: a path or host:port. The table
is live until Ctrl-C; it is printed once if the output is no terminal.
"""

ORDER = {"running": 0, "ready": 1, "waiting": 2}
VARYING = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?")


class Problem(Exception):
    """What is said instead of a table."""


# ---- asking ----


def find_sockets(pid: int) -> list[str]:
    """Those of the interpreters of a process, the main one first."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        raise Problem(f"there is no process {pid}") from None
    found = []
    for folder in runtime_folders(owner):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise Problem(f"process {pid} belongs to another user (uid {owner}): "
                          f"no permission to look into {folder}") from None
        pattern = re.compile(rf"{pid}(?:-(\d+))?\.sock")
        matches = [match for match in map(pattern.fullmatch, names) if match]
        found += [os.path.join(folder, match[0])
                  for match in sorted(matches, key=lambda match: int(match[1] or 0))]
    if not found:
        raise Problem(f"process {pid} does not serve: call microthread.serve_top() in it, or start it "
                      f"with MICROTHREAD_TOP=1 in its environment")
    return found


def ask(address: str | tuple[str, int]) -> dict[str, Any]:
    """One snapshot. OSError when nobody answers."""
    if isinstance(address, str):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        client.connect(address)
    else:
        client = socket.create_connection(address, 10)
    with client, client.makefile("rb") as file:
        text = file.read()
    try:
        answer = json.loads(text)
        answer["loops"]
    except (ValueError, TypeError, KeyError):
        raise Problem(f"what answers at {address} is not microthread.serve_top()") from None
    return answer


def ask_all(target: str) -> list[dict[str, Any]]:
    """A snapshot of each interpreter that serves."""
    addresses = find_sockets(int(target)) if target.isdecimal() else [parse_address(target)]
    answers = []
    for address in addresses:
        try:
            answers.append(ask(address))
        except PermissionError:
            raise Problem(f"no permission to connect to {address}") from None
        except (FileNotFoundError, ConnectionError, TimeoutError) as error:
            if address == addresses[-1] and not answers:
                raise Problem(f"nobody serves at {address}: {error.strerror or error}") from None
    return answers


# ---- the table ----


def clean(text: Any) -> str:
    """Names are the program's: nothing in them may move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def rate(new: dict[str, Any], old: dict[str, Any] | None, key: str, seconds: float) -> float | None:
    if old is None or seconds <= 0 or None in (new[key], old[key]):
        return None
    return (new[key] - old[key]) / seconds


def show(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def lines_of(answers: list[dict[str, Any]], before: list[dict[str, Any]]) -> Iterator[str]:
    """The whole table. before: an earlier look, for the rates."""
    first = answers[0]
    yield f"process {first['pid']}: {clean(first['program'])}"
    yield ""
    yield (f"{'interpreter':>11} {'OS thread':>10} {'CPU %':>6} {'threads':>9} {'ready':>8} "
           f"{'waiting':>9} {'switches/s':>11} {'spawned/s':>10} {'polls/s':>8}  name")
    old = {(answer["interpreter"], loop["os_thread"]): (loop, answer["time"])
           for answer in before for loop in answer["loops"]}
    waits: collections.Counter[str] = collections.Counter()
    rows = []
    left_out = 0
    for answer in answers:
        for loop in answer["loops"]:
            past, then = old.get((answer["interpreter"], loop["os_thread"]), (None, 0.0))
            seconds = answer["time"] - then
            cpu = rate(loop, past, "cpu", seconds)
            yield (f"{answer['interpreter']:11} {loop['os_thread']:10} "
                   f"{show(cpu, '.0%').rstrip('%'):>6} "
                   f"{loop['threads']:9} {loop['ready']:8} {loop['waiting']:9} "
                   f"{show(rate(loop, past, 'switches', seconds), '.0f'):>11} "
                   f"{show(rate(loop, past, 'spawned', seconds), '.0f'):>10} "
                   f"{show(rate(loop, past, 'polls', seconds), '.0f'):>8}  {clean(loop['name'])}")
            left_out += loop["threads"] - len(loop["micro_threads"])
            for row in loop["micro_threads"]:
                rows.append((answer["interpreter"], *row))
                if row[3] is not None:
                    waits[VARYING.sub("N", clean(row[3]))] += 1
    yield ""
    if waits:
        yield "waiting for:  " + ", ".join(f"{count} {what}" for what, count in waits.most_common(8))
        yield ""
    yield f"{'interpreter':>11} {'id':>14} {'state':<8} {'name':<24} waits for"
    rows.sort(key=lambda row: (ORDER.get(row[3], 3), row[0], row[1]))
    for interpreter, number, name, state, what in rows:
        yield (f"{interpreter:11} {number:14} {state:<8} {clean(name):<24} "
               f"{'' if what is None else clean(what)}").rstrip()
    if left_out > 0:
        yield f"... and {left_out} more"


def watch(target: str, interval: float) -> None:
    """Draw it anew until somebody presses Ctrl-C or the process ends."""
    before = ask_all(target)
    time.sleep(min(interval, 0.5))
    while True:
        answers = ask_all(target)
        columns, height = shutil.get_terminal_size()
        lines = [line[:columns] for line in lines_of(answers, before)][: height - 1]
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        before = answers
        time.sleep(interval)


def print_once(target: str, interval: float) -> None:
    before = ask_all(target)
    time.sleep(interval)
    for line in lines_of(ask_all(target), before):
        print(line)


def main(arguments: list[str]) -> str | int:
    """The status to end with, or what to say on stderr."""
    interval = 1.0
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if arguments and arguments[0] == "--interval":
        try:
            interval = float(arguments[1])
            if not 0.01 <= interval <= 3600:
                raise ValueError
        except (IndexError, ValueError):
            return f"{USAGE}\n--interval must be followed by seconds from 0.01 to 3600"
        arguments = arguments[2:]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        return f"{USAGE}\none process or address is needed"
    try:
        (watch if sys.stdout.isatty() else print_once)(arguments[0], interval)
    except (Problem, ValueError) as problem:
        return f"python -m microthread.top: {problem}"
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except OSError as error:
        return f"python -m microthread.top: {arguments[0]}: {error.strerror or error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
