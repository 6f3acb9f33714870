# SPDX-License-Identifier: MIT
"""The facts that a figure is worth nothing without, and which CPU everybody runs on."""

import os
import platform
import resource
import subprocess
import sys
import time

from harness.build import BENCH


def cpu_model():
    """The name of the processor, as the kernel gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_total():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def sysctl(name):
    """One kernel setting as text, or None where there is none."""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def revision():
    """The commit of this tree, with a mark when it is changed; None outside a repository."""
    try:
        done = subprocess.run(["git", "-C", BENCH, "describe", "--always", "--dirty", "--tags"],
                              capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def facts():
    """What the JSON says about this machine."""
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_total() / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "") if os.path.exists("/etc/os-release") else "",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "python_build": f"{' '.join(platform.python_build())}, {platform.python_compiler()}",
        "vm.max_map_count": sysctl("vm.max_map_count"),
        "revision": revision(),
        "load_before": os.getloadavg()[0],
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "argv": sys.argv[1:],
    }


def cpus():
    """(CPU of whatever is measured, CPU of the load generator): two different ones if there are two."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


def allow_many_descriptors(wanted=8192):
    """Raise the soft limit of open files; our children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
