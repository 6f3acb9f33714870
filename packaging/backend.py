# SPDX-License-Identifier: MIT
"""The PEP 517 build backend: runs configure and make, and zips what `make install` installs.

Needs nothing but the standard library, a C compiler, make and libev; from a git checkout also
autoconf, automake and libtool. Builds in a copy of the source tree, for the running interpreter.
"""
import base64
import contextlib
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile

# What a build leaves behind, and what is not part of the source.
LEFT_OUT = shutil.ignore_patterns(
    ".git", "build", "build-[!a]*", "dist", "autom4te.cache", "__pycache__", ".libs", ".deps",
    ".dirstamp", "*.o", "*.lo", "*.la", "*.so", "*.whl", "config.status", "config.log", "libtool")


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def metadata():
    """The text of METADATA (PKG-INFO), and the project's name and version."""
    with open("pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    with open(project["readme"], encoding="utf-8") as file:
        readme = file.read()
    text = (
        "Metadata-Version: 2.1\n"
        f"Name: {project['name']}\n"
        f"Version: {project['version']}\n"
        f"Summary: {project['description']}\n"
        f"Author: {project['authors'][0]['name']}\n"
        f"License: {project['license']['text']}\n"
        f"Requires-Python: {project['requires-python']}\n"
        "Description-Content-Type: text/markdown\n\n" + readme)
    return text, project["name"], project["version"]


@contextlib.contextmanager
def build_folder():
    """A folder configured for the running interpreter, out of the source tree."""
    with tempfile.TemporaryDirectory(prefix="microthread-") as folder:
        source = os.path.join(folder, "source")
        build = os.path.join(folder, "build")
        shutil.copytree(".", source, ignore=LEFT_OUT, symlinks=True)
        if not os.path.exists(os.path.join(source, "configure")):
            subprocess.run(["./autogen.sh"], cwd=source, check=True)
        os.mkdir(build)
        subprocess.run([os.path.join(source, "configure"), "-q", "PYTHON=" + sys.executable,
                        "--prefix=/usr", "pyexecdir=/package"], cwd=build, check=True)
        yield build


def make(folder, *arguments):
    subprocess.run(["make", f"-j{os.cpu_count()}", *arguments], cwd=folder, check=True)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    text, name, version = metadata()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"{python}-{python}{sys.abiflags}-{platform}"
    info = f"{name}-{version}.dist-info"
    wheel = f"{name}-{version}-{tag}.whl"
    record = []

    with build_folder() as build, zipfile.ZipFile(
            os.path.join(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as archive:

        def add(path, data, mode=0o644):
            entry = zipfile.ZipInfo(path)  # dated 1980: two builds give the same wheel
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")

        make(build, "install", "DESTDIR=" + os.path.join(build, "root"))
        root = os.path.join(build, "root", "package")
        for path in sorted(glob.glob("**", root_dir=root, recursive=True)):
            full = os.path.join(root, path)
            if os.path.isfile(full) and not path.endswith(".pyc"):
                with open(full, "rb") as file:
                    add(path, file.read(), 0o755 if path.endswith(".so") else 0o644)
        with open("LICENSE", "rb") as file:
            add(f"{info}/LICENSE", file.read())
        add(f"{info}/METADATA", text.encode())
        add(f"{info}/WHEEL", ("Wheel-Version: 1.0\nGenerator: microthread\n"
                              f"Root-Is-Purelib: false\nTag: {tag}\n").encode())
        record.append(f"{info}/RECORD,,\n")
        add(f"{info}/RECORD", "".join(record).encode())
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    """What `make dist` makes, with PKG-INFO added."""
    text, name, version = metadata()
    base = f"{name}-{version}"
    with build_folder() as build:
        make(build, "distdir")
        with open(os.path.join(build, base, "PKG-INFO"), "w", encoding="utf-8") as file:
            file.write(text)
        shutil.make_archive(
            os.path.join(os.path.abspath(sdist_directory), base), "gztar", build, base)
    return base + ".tar.gz"
