# SPDX-License-Identifier: MIT
"""child.py MODULE DONE [patched]: run one of CPython's own test modules, test by test.

Each line of stdout that begins with MARK says that a test begins or how it ended; what the tests print
themselves goes to stderr. Tests named in the file DONE are left out: they ended, or ended us, before.
"""

import faulthandler
import os
import signal
import sys
import unittest

MARK = "@@"
# What a test may ask for: no screen, nothing outside this machine.
RESOURCES = ["cpu", "decimal", "subprocess"]
NEED_NETWORK = ("test_socketserver", "test_timeout")  # mean loopback by it, most of their tests


class Result(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.outcome = None

    def tell(self, what, test):
        print(MARK, what, test.id(), file=self.out, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.outcome = "ok"
        self.tell("begin", test)

    def stopTest(self, test):
        super().stopTest(test)
        self.tell(self.outcome, test)

    def fault(self, test, error):
        """A failure: of a test under way, or of a fixture, which has no begin and no end."""
        print(f"---- {test.id()}\n{self._exc_info_to_string(error, test)}", file=sys.stderr, flush=True)
        if self.outcome is None:
            self.tell("fixture", test)
        else:
            self.outcome = "failed"

    def addError(self, test, error):
        if not hasattr(test, "_testMethodName"):
            self.outcome = None
        self.fault(test, error)

    def addFailure(self, test, error):
        self.fault(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.fault(test, error)

    def addSkip(self, test, reason):
        if self.outcome is None or not hasattr(test, "_testMethodName"):
            self.tell("skipped", test)
        elif self.outcome == "ok":
            self.outcome = "skipped"

    def addExpectedFailure(self, test, error):
        self.outcome = "skipped"

    def addUnexpectedSuccess(self, test):
        self.outcome = "failed"


def flatten(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flatten(each)
        else:
            yield each


def main():
    name, done_path, *rest = sys.argv[1:]
    del sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    faulthandler.enable()  # run.py aborts what hangs
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    os.dup2(2, 1)
    if rest == ["patched"]:
        import microthread.patch
        microthread.patch.all()
    from test import support
    support.use_resources = RESOURCES + ["network"] * (name in NEED_NETWORK)
    support.verbose = 0
    with open(done_path) as file:
        done = set(file.read().split("\n"))
    try:
        loaded = unittest.defaultTestLoader.loadTestsFromName(f"test.{name}")
    except unittest.SkipTest as reason:
        print(f"test.{name} skipped: {reason}", file=sys.stderr)
        loaded = unittest.TestSuite()
    # Together by class, in order: class and module fixtures run as often as they ought to.
    suite = unittest.TestSuite(test for test in flatten(loaded) if test.id() not in done)
    suite(Result(out))
    print(MARK, "end", name, file=out, flush=True)


if __name__ == "__main__":
    main()
