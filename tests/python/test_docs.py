# SPDX-License-Identifier: MIT
"""Every Python block of README and docs is a program that runs."""

import pathlib
import re

import pytest

from support import run_script

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), 1):
            yield pytest.param(match.group(1), id=f"{page.name}-{number}")


@pytest.mark.parametrize("source", blocks())
def test_snippet_runs_without_error(source, tmp_path):
    result = run_script(source, env={"TMPDIR": str(tmp_path)})  # nothing is left behind
    assert result.returncode == 0, result.stderr


def test_readme_and_guide_have_snippets():
    ids = [parameter.id for parameter in blocks()]
    assert sum(name.startswith("README.md") for name in ids) >= 2
    assert sum(name.startswith("guide.md") for name in ids) >= 10
