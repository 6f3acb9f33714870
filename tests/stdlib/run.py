# SPDX-License-Identifier: MIT
"""CPython's own tests under microthread.patch.

    run-python tests/stdlib/run.py [--modules test_socket,test_ssl] [--jobs 2] [--both [--report]] [--log FILE]

Runs them patched and compares what failed with docs/stdlib-tests.md, the list of what is known to be
lost and why; those that would hang are not run, patched. A test that fails and is not in the list is
run again alone, patched and plain: it is a new loss when it fails patched three times and passes
plain. A module that could not be loaded, or ended badly, is run again whole. Exit status 1: a new loss.
--both runs all of them plain, too, and prints the share of those that pass plain and patched alike;
--report writes it into the table of that page.

Needs CPython's test package (Debian: libpython3.X-testsuite). Ends in TAP's summary lines, which
.ci/run adds up.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LIST = HERE.parent.parent / "docs" / "stdlib-tests.md"
MARK = "@@"
SILENCE = 180     # seconds without a test beginning or ending: it hangs, be the machine ever so slow
LONGEST = 900     # seconds for one module, whatever it does
MOST_RESTARTS = 15  # of one module
AGAIN = 2         # more tries for what failed,
PAUSE = 5         # seconds apart: a machine that is busy for a moment is no reason
HANGS = "hangs:"  # how the reason of a loss begins that is not run, patched

# Neither plain nor patched: they take long, and their like are run.
SLOW = set("""
test.test_weakref.MappingTestCase.test_threaded_weak_key_dict_copy
test.test_weakref.MappingTestCase.test_threaded_weak_key_dict_deepcopy
test.test_weakref.MappingTestCase.test_threaded_weak_value_dict_copy
test.test_weakref.MappingTestCase.test_threaded_weak_value_dict_deepcopy
""".split())

MODULES = """
socket ssl select poll epoll selectors threading thread threading_local queue sched subprocess signal
httplib httpservers http_cookiejar urllib urllib2 urllib2_localnet urllib_response ftplib smtplib poplib
imaplib socketserver wsgiref xmlrpc logging timeout context weakref time os posix fileio io file
asyncio concurrent_futures
""".split()


def expand(name):
    """The test modules of this CPython behind a name: a package is taken apart."""
    import test

    folder = pathlib.Path(test.__file__).parent
    if (folder / f"test_{name}").is_dir():
        found = sorted((folder / f"test_{name}").glob("test_*.py"))
        return [f"test_{name}.{path.stem}" for path in found if "windows" not in path.stem]
    return [f"test_{name}"] if (folder / f"test_{name}.py").exists() else []


def scratch():
    """A folder to run in, whatever is still written there at the end."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def kill_group(group, signum):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signum)


class Run:
    """One test module, in as many child processes as it takes."""

    def __init__(self, module, patched, left_out):
        self.module = module
        self.patched = patched
        self.left_out = left_out
        self.outcomes = {}     # id -> ok, failed, skipped, hung, crashed, fixture
        self.text = ""         # what the children wrote
        self.seconds = 0.0
        self.end = 0.0         # on the monotonic clock

    def run(self):
        started = time.monotonic()
        self.end = started + LONGEST
        restarts = 0
        while not self.once():
            restarts += 1
            if restarts == MOST_RESTARTS or time.monotonic() > self.end:
                self.outcomes[f"test.{self.module} (the rest)"] = "not run"
                break
        self.seconds = time.monotonic() - started
        return self

    def once(self):
        """One child. True: it came to the end."""
        with scratch() as folder:
            done = pathlib.Path(folder, "done")
            done.write_text("\n".join([*self.outcomes, *self.left_out]))
            command = [sys.executable, str(HERE / "child.py"), self.module, str(done)]
            if self.patched:
                command.append("patched")
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=folder,
                                     stderr=subprocess.PIPE,
                                     text=True, errors="replace", start_new_session=True)
            return self.follow(child)

    def follow(self, child):
        current, ended, hung = None, False, threading.Event()
        before = len(self.outcomes)
        heard = [time.monotonic()]

        def drain():
            for line in child.stderr:
                self.text += line

        def guard():
            while child.poll() is None:
                time.sleep(0.5)
                now = time.monotonic()
                if now > min(heard[0] + SILENCE, self.end):
                    hung.set()
                    kill_group(child.pid, signal.SIGABRT)  # faulthandler tells where
                    time.sleep(1)
                    break
            kill_group(child.pid, signal.SIGKILL)  # and what it left behind, which may hold its pipes

        helpers = [threading.Thread(target=guard, daemon=True), threading.Thread(target=drain, daemon=True)]
        for helper in helpers:
            helper.start()
        for line in child.stdout:
            if not line.startswith(MARK):
                self.text += line
                continue
            heard[0] = time.monotonic()
            _, what, test = line.rstrip("\n").split(" ", 2)
            if what == "begin":
                current = test
            elif what == "end":
                ended = True
                break
            else:
                self.outcomes[test] = what
                current = None
        status = child.wait()
        for helper in helpers:
            helper.join(10)  # a daemon that a test left may hold stderr for ever
        if ended:
            if status != 0:
                self.outcomes[f"test.{self.module} (at exit)"] = "crashed"
            return True
        how = "hung" if hung.is_set() else "crashed"
        if current:
            self.outcomes[current] = how
        elif len(self.outcomes) == before:  # it cannot even be loaded
            self.outcomes[f"test.{self.module} (import)"] = how
            return True
        return False


def bad(outcomes):
    return {test for test, outcome in outcomes.items() if outcome not in ("ok", "skipped")}


def known_losses():
    """test id -> reason; a row of the list's tables is | `id` | versions | reason |."""
    losses = {}
    version = "%d.%d" % sys.version_info[:2]
    for line in LIST.read_text().splitlines():
        match = re.match(r"\| `([^`]+)` \| ([^|]*) \| (.*) \|$", line)
        if match and version in match[2].split():
            losses[match[1]] = match[3]
    return losses


def run_all(modules, patched, left_out, jobs, log):
    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(Run(module, patched, left_out).run) for module in modules]
        for future in concurrent.futures.as_completed(runs):
            run = future.result()
            outcomes.update(run.outcomes)
            lost = bad(run.outcomes)
            ok = sum(outcome == "ok" for outcome in run.outcomes.values())
            print(f"{'patched' if patched else 'plain  '} {run.module}: {ok} ok, {len(lost)} not, "
                  f"{run.seconds:.0f} s", flush=True)
            log.write(f"======== {run.module} {'patched' if patched else 'plain'}\n{run.text}\n"
                      + "".join(f"{run.outcomes[test]}: {test}\n" for test in sorted(lost)))
            log.flush()
    return outcomes


ALONE = """
import sys, unittest
test, *rest = sys.argv[1:]
if rest:
    import microthread.patch; microthread.patch.all()
from test import support
support.use_resources = ["cpu", "decimal", "subprocess", "network"]
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromName(test))
sys.exit(not (result.testsRun and result.wasSuccessful()))
"""


def passes_alone(test, patched):
    """Whether one test passes in a process of its own."""
    command = [sys.executable, "-c", ALONE, test, *["patched"] * patched]
    with scratch() as folder:
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            return child.wait(SILENCE) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            kill_group(child.pid, signal.SIGKILL)
            child.wait()


def passes_in_module(test, patched, left_out):
    """The same of what happens to a module, or to the fixture of a class."""
    module = re.match(r"(?:\w+ \()?test\.((?:test_(?:asyncio|concurrent_futures)\.)?\w+)", test)[1]
    outcomes = Run(module, patched, left_out).run().outcomes
    return outcomes.get(test, "ok") == "ok"


def is_lost(test, left_out):
    """It fails patched each time, and passes plain."""
    if " " in test:
        return not passes_in_module(test, True, left_out) and passes_in_module(test, False, SLOW)
    for _ in range(AGAIN):
        time.sleep(PAUSE)
        if passes_alone(test, True):
            return False
    return passes_alone(test, False)


# ---- The table of the page ----

HEADER = "| CPython | test modules | pass plain | pass patched, too | kept |\n| --- | --- | --- | --- | --- |\n"


def write_report(modules, plain, kept):
    """Put the row of this CPython into the table that HEADER begins; the other versions' rows stay."""
    text = LIST.read_text()
    before, found, rest = text.partition(HEADER)
    if not found:
        sys.exit(f"{LIST} has no table that begins with {HEADER.splitlines()[0]}")
    rows, after = re.match(r"((?:\|.*\n)*)(.*)", rest, re.DOTALL).groups()
    minor = "| %d.%d." % sys.version_info[:2]
    version = "%d.%d.%d" % sys.version_info[:3]
    kept_rows = [row for row in rows.splitlines() if not row.startswith(minor)]
    kept_rows.append(f"| {version} | {modules} | {plain:,} | {kept:,} | {kept / plain:.2%} |")
    LIST.write_text(before + HEADER + "\n".join(sorted(kept_rows)) + "\n" + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modules", default=",".join(MODULES), help="names, with or without test_")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--both", action="store_true", help="run them plain as well, and compare")
    parser.add_argument("--report", action="store_true", help="write the share into docs/stdlib-tests.md")
    parser.add_argument("--log", default=os.devnull, help="what the tests that failed wrote")
    args = parser.parse_args()
    if args.report and not args.both:
        parser.error("--report needs --both")
    modules = [module for name in args.modules.split(",") for module in expand(name.removeprefix("test_"))]
    if not modules:
        sys.exit("none of these test modules is installed (Debian: libpython3.X-testsuite)")

    losses = known_losses()
    with open(args.log, "w") as log:
        hanging = {test for test, reason in losses.items() if reason.startswith(HANGS)}
        plain = run_all(modules, False, SLOW, args.jobs, log) if args.both else None
        patched = run_all(modules, True, SLOW | hanging, args.jobs, log)

    failed = bad(patched)
    new, passed_again = [], set()
    for test in sorted(failed - set(losses)):
        if plain is not None and " " not in test and plain.get(test) != "ok":
            continue
        if not is_lost(test, SLOW | hanging):
            passed_again.add(test)
            print(f"no loss, seen again: {test}: {patched[test]}")
            continue
        new.append(test)
        print(f"NEW LOSS {test}: {patched[test]}")
    for test in sorted(set(losses) - failed):
        if test in patched:
            print(f"passes, though the list says it is lost: {test}")
    if plain is not None:
        both = [test for test, outcome in plain.items() if outcome == "ok"]
        kept = sum(patched.get(test) == "ok" or test in passed_again for test in both)
        print(f"{kept} of {len(both)} tests that pass plain pass patched, too: {kept / len(both):.2%}")
        if args.report:
            write_report(len(modules), len(both), kept)
    passed = sum(outcome == "ok" for outcome in patched.values())
    print(f"# PASS:  {passed}\n# FAIL:  {len(new)}")
    sys.exit(1 if new else 0)


if __name__ == "__main__":
    main()
