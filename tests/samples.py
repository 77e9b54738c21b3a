"""Where sample files are: small ones of our own, and those that users have, which may lie beside a checkout.

Our own are in tests/data, and their names begin with `small_`.
"""

from __future__ import annotations

from pathlib import Path

OWN = Path(__file__).resolve().parent / "data"
SHARED = OWN.parents[2] / "shared" / "data"


def find(name: str) -> Path | None:
    """A sample file by its name, whatever its folder; None where it is not there."""
    found = next((path for folder in (OWN, SHARED) for path in folder.glob(f"*/{name}")), None)
    assert found or not name.startswith("small_"), f"{name} is missing: python -m tests.data.make writes all of them"
    return found


def present(*cases: str | tuple) -> list[str | tuple]:
    """The cases, each a file's name or a tuple with one or more of them, whose files are all there.

    For tests that know no number of a file: where the others are not there, our own do as well.
    """
    return [case for case in cases if all(map(find, filter(is_file_name, [case] if isinstance(case, str) else case)))]


def is_file_name(value: object) -> bool:
    """Whether a value of a test's case names a file."""
    return isinstance(value, str) and Path(value).suffix in (".h5", ".json", ".npz", ".yaml")
