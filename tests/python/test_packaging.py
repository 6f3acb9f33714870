# SPDX-License-Identifier: MIT
"""pip install works offline: a tarball is made, a wheel is made from it, the wheel is used."""
import base64
import csv
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
BUILD = "import sys; sys.path.insert(0, 'packaging'); import backend; backend.build_{}(sys.argv[1])"

if os.environ.get("MT_TEST_PACKAGING") == "0":
    pytest.skip("MT_TEST_PACKAGING=0: CI tests it in one build", allow_module_level=True)


def run(*arguments, cwd, **extra):
    """Run this interpreter outside of make and of the built tree; return what it printed."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "LD_PRELOAD", "PYTHONMALLOC")
    environment = {k: v for k, v in os.environ.items() if k not in inherited} | extra
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source tree of the tarball that the backend makes."""
    folder = tmp_path_factory.mktemp("sdist")
    run("-c", BUILD.format("sdist"), folder, cwd=SOURCE)
    (tarball,) = folder.iterdir()
    with tarfile.open(tarball) as archive:
        archive.extractall(folder)
    (tree,) = [path for path in folder.iterdir() if path.is_dir()]
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """Made by pip, or where there is none by the backend alone."""
    folder = tmp_path_factory.mktemp("wheel")
    if importlib.util.find_spec("pip"):
        run("-m", "pip", "wheel", "--no-index", "--no-deps", "-w", folder, unpacked, cwd=folder)
    else:
        run("-c", BUILD.format("wheel"), folder, cwd=unpacked)
    (path,) = folder.glob("*.whl")
    return path


def test_tarball_has_package_information(unpacked):
    assert "Name: microthread" in (unpacked / "PKG-INFO").read_text(encoding="utf-8")


def test_wheel_is_named_for_this_interpreter(wheel):
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{version}-{version}" in wheel.name


def test_wheel_record_lists_every_file_with_its_hash(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
        rows = {row[0]: row[1] for row in csv.reader(archive.read(record).decode().splitlines())}
        assert set(rows) == set(archive.namelist())
        for name, stated in rows.items():
            if name != record:
                digest = hashlib.sha256(archive.read(name)).digest()
                assert stated == "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_wheel_has_the_header_where_get_include_says(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    said = run("-c", "import microthread; print(microthread.get_include())", cwd=tmp_path,
               PYTHONPATH=str(tmp_path)).strip()
    header = Path(said, "microthread", "microthread.h")
    assert tmp_path in header.parents
    assert header.read_bytes() == (SOURCE / "include/microthread/microthread.h").read_bytes()


@pytest.mark.skipif("MT_BUILDDIR" not in os.environ, reason="not run by make check")
def test_make_install_has_the_header_twice_and_tells_pkg_config(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run([os.environ.get("MT_MAKE", "make"), "-s", "-C", os.environ["MT_BUILDDIR"], "install",
                    f"DESTDIR={tmp_path}"], env=environment, check=True, capture_output=True)
    headers = sorted(tmp_path.rglob("microthread.h"))
    assert len(headers) == 2
    (config,) = tmp_path.rglob("microthread.pc")
    program = shutil.which("pkg-config")
    if not program:
        pytest.skip("no pkg-config")
    flags = subprocess.run(
        [program, "--cflags", "microthread"], check=True, capture_output=True, text=True,
        env=environment | {"PKG_CONFIG_PATH": str(config.parent), "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
                           "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)}).stdout.split()
    assert [flag for flag in flags if Path(flag[2:], "microthread", "microthread.h") in headers], flags


def test_installed_package_runs(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = "import microthread; print(microthread.spawn(lambda: 6 * 7).wait())"
    assert run("-c", program, cwd=tmp_path, PYTHONPATH=str(tmp_path)) == "42\n"
