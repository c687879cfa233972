"""The language used alone, as the documents show it, runs."""

import re
import subprocess
import sys

import pytest

from nader.graph import parse
from tests.conftest import REPOSITORY


def example(path: str, heading: str) -> str:
    """The first Python example after a heading."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text[text.index(heading) :], re.DOTALL)
    assert found
    return found[1]


def test_the_readmes_example_of_the_language_runs_as_it_stands(tmp_path):
    pytest.importorskip("onnxscript")
    source = example("README.md", "## The block language alone")
    code = [line for line in source.splitlines() if line and not line.startswith("from ")]
    assert len(code) <= 11
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "M parameters" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {"cell.svg", "model.py", "model.onnx"}
    alone = subprocess.run([sys.executable, "model.py"], cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    assert "(2, 100)" in alone.stdout


def test_the_example_of_the_languages_own_page_runs():
    page = (REPOSITORY / "docs" / "block-language.md").read_text(encoding="utf-8")
    text = re.search(r"```\n(##.*?)```", page, re.DOTALL)
    assert text and parse(text[1]).notes == ()
    exec(
        compile(example("docs/block-language.md", "# The block language"), "docs", "exec"), {"text": text[1]}
    )
