"""What the README shows works as it stands: the blocks behind a `<!-- tested -->` mark."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- tested -->\n```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
MODULES = {"larndsim": "larndsim", "larndsim-optimize": "optimize"}


def command(line: str) -> list[str]:
    """A command of the README as a call of this Python: the commands themselves need not be on the path."""
    name, *arguments = shlex.split(line, comments=True)
    return [sys.executable, "-m", MODULES[name], *arguments]


def test_there_are_blocks():
    assert {language for language, _ in BLOCKS} == {"python", "sh"}


@pytest.mark.slow
@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[text.split("\n")[0] for _, text in BLOCKS])
def test_block_runs(language, text, tmp_path, monkeypatch):
    if "jax" in text:
        pytest.importorskip("jax")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    calls = [[sys.executable, "-c", text]] if language == "python" else [command(x) for x in text.splitlines() if x]
    for call in calls:
        subprocess.run(call, cwd=tmp_path, check=True)


LINK = re.compile(r"\]\(([^)#:]+)\)")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]
