"""Imports point one way, and only the backend package names a framework.

The checks read the source with `ast` and `tokenize`: docstrings and comments may say what they like.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("larndsim", "optimize")
    for path in (ROOT / folder).rglob("*.py")
}
FRAMEWORKS = ("torch", "jax", "jaxlib")
MAY_NAME_FRAMEWORKS = ("larndsim/backend/", "optimize/gradients.py")

# What each module (a file or a folder directly under larndsim/) may import of the package, beside itself.
FOUNDATION = {"errors", "data", "backend", "detector", "response"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "data": {"errors"},
    "backend": {"errors"},
    "response": set(),
    "detector": {"errors", "data", "backend", "response"},
    # the stages
    "quenching": FOUNDATION,
    "drifting": FOUNDATION,
    "pixelization": FOUNDATION | {"drifting"},
    "charge": FOUNDATION | {"drifting"},
    "electronics": FOUNDATION,
    "truth": FOUNDATION | {"charge"},
    # what runs them
    "engine": FOUNDATION | {"charge", "drifting", "electronics", "pixelization"},
    "derivatives": FOUNDATION,
    "chain": FOUNDATION | {"charge", "drifting", "engine", "quenching"},
    "simulation": FOUNDATION | {"chain", "electronics", "engine", "quenching", "truth"},
    # what surrounds them
    "generate": FOUNDATION,
    "io": FOUNDATION,
    "display": FOUNDATION | {"io", "simulation", "truth"},
    "__init__": FOUNDATION | {"derivatives", "generate", "io", "simulation"},
    "cli": {"__init__", *FOUNDATION, "display", "electronics", "engine", "io", "simulation", "truth"},
    "__main__": {"cli"},
}


def module_of(path: str) -> str:
    """larndsim/io/hits.py -> io, larndsim/charge.py -> charge"""
    return path.split("/")[1].removesuffix(".py")


def tree_of(path: str) -> ast.Module:
    return ast.parse(SOURCES[path].read_text(encoding="utf-8"))


def imports_of(path: str) -> Iterator[str]:
    """Everything that a file imports, as dotted names: larndsim.data.batch.Batch, numpy"""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def imported_modules(path: str) -> set[str]:
    """The modules of larndsim, as in `MAY_IMPORT`, that a file imports; without its own."""
    found = set()
    for name in imports_of(path):
        package, *rest = name.split(".")
        if package == "larndsim":
            is_module = rest and (
                (ROOT / "larndsim" / rest[0]).is_dir() or (ROOT / "larndsim" / f"{rest[0]}.py").exists()
            )
            found.add(rest[0] if is_module else "__init__")
    return found - {module_of(path)}


def frameworks_named(path: str) -> list[str]:
    """Where a file names a framework: as a name of the language, or as a whole string such as "torch.nn"."""
    with tokenize.open(SOURCES[path]) as file:
        names = [(t.start[0], t.string) for t in tokenize.generate_tokens(file.readline) if t.type == tokenize.NAME]
    strings = [
        (node.lineno, node.value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    pattern = re.compile(rf"({'|'.join(FRAMEWORKS)})(\.[\w.]+)?")
    return [f"{path}:{line}: {text}" for line, text in sorted(names + strings) if pattern.fullmatch(text)]


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith(MAY_NAME_FRAMEWORKS)])
def test_only_the_backend_names_a_framework(path):
    assert not frameworks_named(path), "name it in larndsim/backend, and ask there"


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith("larndsim/backend/")])
def test_only_the_backend_unwraps_tensors(path):
    raw = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute) and node.attr == "raw"]
    assert not [f"{path}:{node.lineno}: {ast.unparse(node)}" for node in raw]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("larndsim/")])
def test_imports_point_one_way(path):
    module = module_of(path)
    assert module in MAY_IMPORT, f"say in MAY_IMPORT what larndsim/{module} may import"
    assert imported_modules(path) <= MAY_IMPORT[module]
    assert not [name for name in imports_of(path) if name.split(".")[0] == "optimize"]


def test_the_table_has_no_cycles():
    open_modules = dict(MAY_IMPORT)
    while closed := {name for name, below in open_modules.items() if not below & open_modules.keys()}:
        open_modules = {name: below for name, below in open_modules.items() if name not in closed}
    assert not open_modules


@pytest.mark.parametrize("statement", ["import larndsim, optimize", "import larndsim.cli, optimize.cli"])
def test_import_is_light(statement):
    heavy = "{'torch', 'jax', 'optax', 'matplotlib', 'plotly', 'iminuit'}"
    code = f"import sys; {statement}; print(*sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
