"""A run is a folder: its configuration, the history of every iteration, a checkpoint, and the result.

config.yaml      all settings
history.h5       one row per iteration, up to the last checkpoint
checkpoint.npz   the state of the method and the history: all that the fit needs to go on; and whose they are
result.json      the result, when the fit has ended
residuals.npz    of a likelihood fit: the data and simulated ones at its end, side by side (see residuals.py)
segments.h5      the segments, where they came from memory
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from larndsim.data.segments import Segments
from larndsim.detector.checks import read_yaml
from larndsim.errors import ArgumentError
from larndsim.io.atomic import replacing
from larndsim.io.hdf5 import new_file

from .history import History
from .identity import differences, identity_of
from .methods import State
from .residuals import Residuals
from .run_files import read_history, read_residuals, read_result, readable
from .settings import MAPS, Settings, make_settings

CONFIG, HISTORY, CHECKPOINT, RESULT, RESIDUALS, SEGMENTS = (
    "config.yaml",
    "history.h5",
    "checkpoint.npz",
    "result.json",
    "residuals.npz",
    "segments.h5",
)
MAY_CHANGE = ("iterations", "save_freq")  # between an interrupted run and the one that goes on
MEMORY = "memory."
IDENTITY = "run"  # in a checkpoint: which run it is of, as JSON


def check_folder(argument: str, path: str | os.PathLike[str]) -> None:
    """Refuse a path at which no folder can be, before anything takes time."""
    nearest = Path(path).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        raise ArgumentError(argument, "be a folder", f"{nearest} is none", "Choose another.")
    if not os.access(nearest, os.W_OK):
        raise ArgumentError(argument, "be a folder that can be written", f"{nearest} cannot", "Choose another.")


def make_folder(argument: str, path: str | os.PathLike[str]) -> Path:
    """The folder, made where there is none."""
    check_folder(argument, path)
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(argument, "be a folder", f"{path}: {error.strerror}", "Choose another.") from error
    return Path(path)


class Folder:
    """The folder of a run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.identity: dict[str, Any] = {}

    def check_new(self, settings: Settings) -> None:
        """Refuse a folder that holds a run, a place that can be none, and settings that it could not hold."""
        check_folder("out", self.path)
        if (self.path / CONFIG).exists():
            remedy = "Resume it, or choose another folder."
            raise ArgumentError("out", "be a folder without a run", f"{self.path} has one", remedy)
        for name in ("input", "input_target", "data", "detector", *MAPS):
            value = getattr(settings, name)
            if not isinstance(value, str | os.PathLike | None) and not (
                name == "input" and isinstance(value, Segments)
            ):
                remedy = "Write it to a file, and name that."
                raise ArgumentError(name, "be a file where `out` is given", f"it is a {type(value).__name__}", remedy)

    def start(self, settings: Settings) -> None:
        """Make the folder, where there is none, and write the settings; segments from memory become a file."""
        if (self.path / CONFIG).exists():
            return
        make_folder("out", self.path)
        values = settings.plain() if not isinstance(settings.input, Segments) else self._with_segments(settings)
        with replacing(self.path / CONFIG) as temporary:
            temporary.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        self.identity = identity_of(values)

    def resumed(self, choices: Mapping[str, Any]) -> Settings:
        """The settings of the run in the folder; choices, or a checkpoint, that disagree with them are refused."""
        if not (self.path / CONFIG).exists():
            remedy = "Start it without `resume`."
            raise ArgumentError("resume", "find a run in `out`", f"{self.path} holds none", remedy)
        stored = read_yaml(self.path / CONFIG, "config")
        known = make_settings(stored)
        asked = make_settings({**stored, **choices}).plain()
        for name, value in known.plain().items():
            if name not in MAY_CHANGE and asked[name] != value and name in {k.replace("-", "_") for k in choices}:
                raise ArgumentError(name, "stay what it was in a resumed run", f"it was {value!r}", "Leave it out.")
        self.identity = identity_of(known.plain())
        held = self._checkpoint()
        if held is not None and (but := differences(held[2], self.identity)):
            remedy = "Undo that, or start another run."
            raise ArgumentError("resume", f"go on as {self.path / CHECKPOINT} was made", but, remedy)
        return make_settings({**stored, **{k: v for k, v in choices.items() if k.replace("-", "_") in MAY_CHANGE}})

    def save(self, state: State, history: History, names: tuple[str, ...]) -> None:
        """Write the checkpoint, then the history: each whole, or as it was."""
        columns = history.columns(state.iteration)
        arrays = {k: np.asarray(v) for k, v in state._asdict().items() if k != "memory"}
        arrays |= {f"{MEMORY}{key}": value for key, value in state.memory.items()}
        arrays |= {f"{HISTORY}.{key}": value for key, value in columns.items()}
        arrays[IDENTITY] = np.array(json.dumps(self.identity))
        with replacing(self.path / CHECKPOINT) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
        with new_file(self.path / HISTORY) as file:
            file.attrs["parameters"] = list(names)
            for name, column in columns.items():
                file.create_dataset(name, data=column)

    def load(self) -> tuple[State, History] | None:
        """The last checkpoint, if there is one."""
        for left in self.path.glob(f".*.{'[0-9a-f]' * 8}.*"):  # half a file of a process that was killed
            left.unlink(missing_ok=True)
        held = self._checkpoint()
        return None if held is None else held[:2]

    def _checkpoint(self) -> tuple[State, History, dict[str, Any]] | None:
        """The last checkpoint, and which run it is of; None where there is none."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        with readable("resume", "find a whole checkpoint", path, "Remove the file to start again."):
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            memory = {k.removeprefix(MEMORY): v for k, v in arrays.items() if k.startswith(MEMORY)}
            history = {k.removeprefix(f"{HISTORY}."): v for k, v in arrays.items() if k.startswith(f"{HISTORY}.")}
            plain = {
                k: arrays[k] if k in ("u", "gradient") else arrays[k].item() for k in State._fields if k != "memory"
            }
            return State(memory=memory, **plain), History.of(history), dict(json.loads(arrays[IDENTITY].item()))

    def finish(self, result: Mapping[str, Any], residuals: Residuals | None = None) -> None:
        """Write the residuals, where there are any, and the result."""
        (self.path / RESIDUALS).unlink(missing_ok=True)  # those of an earlier end of this run
        if residuals is not None:
            with replacing(self.path / RESIDUALS) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **residuals._asdict())
        with replacing(self.path / RESULT) as temporary:
            temporary.write_text(json.dumps(finite(result), indent=2) + "\n", encoding="utf-8")

    def _with_segments(self, settings: Settings) -> dict[str, Any]:
        from larndsim.io import write_segments

        path = self.path / SEGMENTS
        write_segments(path, settings.input, swap_xz=settings.swap_xz)
        return {**settings.plain(), "input": str(path.resolve())}


class Run:
    """What a folder says of a run, for pictures: `history` by column, and `result` (empty while it goes on)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / HISTORY).exists():
            raise ArgumentError("run", "be the folder of a run", f"{path} has no {HISTORY}", "Check the path.")
        self.names, self.history = read_history(self.path / HISTORY)
        self.settings = read_yaml(self.path / CONFIG, "run")
        self.result = read_result(self.path / RESULT, self.names)

    @property
    def name(self) -> str:
        """What the run is called in pictures."""
        return self.path.resolve().name

    @property
    def residuals(self) -> Residuals | None:
        """The data and simulated ones at the end, where the fit is one of a likelihood."""
        return read_residuals(self.path / RESIDUALS)

    def target(self, name: str) -> float | None:
        """The true value of a parameter, where it is known."""
        return self.result.get("parameters", {}).get(name, {}).get("target")


def finite(value: Any) -> Any:
    """The same for JSON, which knows no NaN: numbers that are not finite become None, arrays lists."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
