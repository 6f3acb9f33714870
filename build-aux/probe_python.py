# SPDX-License-Identifier: MIT
"""Says whether this interpreter can be built for, and what configure must know about it.

Run by the candidate itself. Prints shell assignments, all prefixed PY_, when it will do;
else exits with 1 and the reason on stderr. Must parse on any Python, 2.7 included.
"""
import os
import sys


def reason_against():
    """Why microthread cannot be built for this interpreter, or None."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):
        return "version " + version + " is too old: 3.11 or later is needed"
    if sys.implementation.name != "cpython":
        return sys.implementation.name + " is not CPython"
    if sys.version_info[:3] == (3, 14, 0):
        return "3.14.0 cannot set C stack limits: 3.14.1 or later is needed"
    import sysconfig

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded build: only builds with the GIL are supported"
    include = sysconfig.get_path("include")
    for header in ("Python.h", os.path.join("internal", "pycore_frame.h")):
        if not os.path.isfile(os.path.join(include, header)):
            return "no " + header + " in " + include
    return None


def library_folder():
    """Where under a prefix this interpreter looks for packages; @PREFIX@ stands for the prefix."""
    import sysconfig

    folder = "lib/python%d.%d/site-packages" % sys.version_info[:2]
    if "posix_local" in sysconfig.get_scheme_names():  # Debian's own
        if PREFIX == "/usr":
            folder = "lib/python3/dist-packages"
        elif PREFIX == "/usr/local":
            folder = "lib/python%d.%d/dist-packages" % sys.version_info[:2]
    return folder


def describe():
    """What configure needs, as name and value."""
    import sysconfig

    yield "EXECUTABLE", sys.executable
    yield "VERSION", ".".join(map(str, sys.version_info[:3]))
    yield "RANK", "%03d%03d%03d" % sys.version_info[:3]
    yield "INCLUDE", sysconfig.get_path("include")
    yield "PLATINCLUDE", sysconfig.get_path("platinclude")
    yield "EXT_SUFFIX", sysconfig.get_config_var("EXT_SUFFIX")
    yield "LIBRARY_FOLDER", library_folder()


if __name__ == "__main__":
    PREFIX = sys.argv[1] if len(sys.argv) > 1 else ""
    why_not = reason_against()
    if why_not:
        sys.exit(why_not)
    for name, value in describe():
        print("PY_%s='%s'" % (name, value.replace("'", "'\\''")))
