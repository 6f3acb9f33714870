# SPDX-License-Identifier: MIT
"""Runs pytest on the files named and writes TAP, for automake's TAP driver.

Where the interpreter has no pytest, Debian's pure-Python one is used; where there is none at
all, that is a failure. A test that hangs ends the run with the stacks of all threads.
"""
import faulthandler
import os
import signal
import sys

DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
TEST_TIMEOUT = float(os.environ.get("MT_TEST_TIMEOUT", "300"))  # seconds for one test

try:
    import pytest
except ImportError:
    sys.path.append(DEBIAN_PACKAGES)
    try:
        import pytest
    except ImportError as error:
        print("1..1")
        print(f"not ok 1 - {sys.executable} has no pytest ({error}); "
              "Debian, Ubuntu: apt-get install python3-pytest")
        sys.exit(0)


class TapReporter:
    """The pytest plugin: one TAP line for each test, with what was wrong as a comment below."""

    def __init__(self, stream):
        self.stream = stream
        self.errors = []  # reports of files that could not be collected
        self.reports = []  # of the test that runs: set-up, call, clean-up
        self.count = 0
        self.failed = 0

    def say(self, text):
        print(text, file=self.stream, flush=True)

    def comment(self, text):
        for line in str(text).splitlines():
            self.say("# " + line)

    def result(self, good, name, directive="", details=""):
        self.count += 1
        self.failed += not good and not directive.startswith("TODO")
        name = name.replace("#", r"\#")  # a bare one begins a directive
        self.say(f"{'ok' if good else 'not ok'} {self.count} - {name}"
                 + (f" # {directive}" if directive else ""))
        self.comment(details)

    def pytest_collectreport(self, report):
        if not report.passed:
            self.errors.append(report)

    def pytest_collection_finish(self, session):
        self.say(f"1..{max(1, len(session.items) + len(self.errors))}")
        for report in self.errors:
            reason = skip_reason(report) if report.skipped else ""
            self.result(report.skipped, report.nodeid,
                        f"SKIP {reason}" if report.skipped else "", report.longreprtext)
        if not session.items and not self.errors:
            self.result(False, "no test in " + " ".join(map(str, session.config.args)))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        faulthandler.dump_traceback_later(TEST_TIMEOUT, exit=True, file=self.stream)
        yield
        faulthandler.cancel_dump_traceback_later()

    def pytest_runtest_logreport(self, report):
        self.reports.append(report)

    def pytest_runtest_logfinish(self, nodeid):
        """A test is one line: what went wrong first in set-up, call and clean-up, else its call."""
        reports, self.reports = self.reports, []
        report = next((r for r in reports if not r.passed), reports[min(1, len(reports) - 1)])
        name = nodeid + (f" ({report.when})" if report.failed and report.when != "call" else "")
        if hasattr(report, "wasxfail"):
            self.result(report.passed, name, f"TODO {report.wasxfail}")
        elif report.skipped:
            self.result(True, name, f"SKIP {skip_reason(report)}")
        elif report.passed:
            self.result(True, name)
        else:
            sections = "".join(f"\n-- {title} --\n{text}" for title, text in report.sections)
            self.result(False, name, "", report.longreprtext + sections)

    def pytest_internalerror(self, excrepr):
        self.comment(excrepr)


def skip_reason(report):
    """Why a test was skipped, without file and line."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def main(files):
    # A shell ignores it for what it runs in the background; tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # TAP alone goes to stdout. pytest's own report, which it insists on making, goes nowhere.
    with os.fdopen(os.dup(1), "w") as stream, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        reporter = TapReporter(stream)
        status = pytest.main(
            ["-p", "no:cacheprovider", "--continue-on-collection-errors", *files], plugins=[reporter])
    told = status == pytest.ExitCode.NO_TESTS_COLLECTED or (
        status in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) and reporter.failed)
    return 0 if told else int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
