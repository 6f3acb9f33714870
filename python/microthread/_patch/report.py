# SPDX-License-Identifier: MIT
"""What microthread.patch.report() returns."""

import sys
from collections import Counter

from microthread._patch import engine, table

# What no patch reaches, by the module that shows that it is used.
_BLOCKING = {
    "_curses": "curses: reading a key blocks",
    "concurrent.interpreters": "concurrent.interpreters: call() and exec() block; use call_in_thread() or "
    "microthread.interpreters",
    "_dbm": "dbm: its calls block",
    "_gdbm": "dbm.gnu: its calls block",
    "_sqlite3": "sqlite3: its calls block; use run_blocking() and connect(check_same_thread=False)",
    "_tkinter": "tkinter: mainloop() blocks",
    "fcntl": "fcntl: flock() and lockf() block unless LOCK_NB is given",
    "MySQLdb": "MySQLdb: C code that waits by itself; pymysql can be patched",
    "psycopg": "psycopg: its C parts wait by themselves",
    "psycopg2": "psycopg2: waits by itself unless the part psycopg2 is patched",
    "sys": "sys.stdin: reading it blocks; use input(), with the part input, or microthread.open(0, closefd=False)",
    "readline": "readline: input() with a terminal blocks unless the part input is patched",
}


class Report:
    """What the patch is and does at this moment; str() is a text to read.

    patched: for each part, the names that are replaced. left: parts that are not patched.
    repaired: places that were changed, of what was imported or made earlier.
    remaining: what was made earlier and could not be repaired, and why; with how many there are.
    blocking: what blocks whatever is patched, among the modules that are loaded.
    """

    def __init__(self) -> None:
        self.patched: dict[str, list[str]] = {
            part: [str(item) for item in items]
            + ([table.HOOKS[part].PLACE] if part in table.HOOKS else [])
            for part, items in engine.replaced().items()
        }
        self.left: list[str] = [part for part in table.PARTS if part not in self.patched]
        log = engine.repairs()
        self.repaired: list[str] = [change.text for change in log.changes]
        self.remaining: dict[str, int] = dict(log.remaining)
        self.blocking: list[str] = [
            text
            for module, text in _BLOCKING.items()
            if module in sys.modules and module not in self.patched
        ]

    def __str__(self) -> str:
        patched = [f"{part}: {', '.join(names)}" for part, names in self.patched.items()]
        repaired = _counted(Counter(self.repaired))
        return "\n".join(
            [
                *_section("patched", patched),
                *_section("not patched", self.left),
                *_section("imported or made earlier, repaired", repaired),
                *_section("made earlier, not repaired", _counted(self.remaining)),
                *_section("blocks in any case", self.blocking),
            ]
        )


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"{title}:", *[f"  {line}" for line in lines or ["nothing"]]]


def _counted(texts: dict[str, int]) -> list[str]:
    return [f"{text} (×{count})" if count > 1 else text for text, count in sorted(texts.items())]
