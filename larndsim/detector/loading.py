"""Detectors by name or from files."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, did_you_mean
from .builtin import BUILTIN, module0_layout
from .checks import LONGEST_DRIFT, PathLike, check_within, describe_unknown, read_yaml
from .detector import Detector
from .electronics import DIGITISATIONS, MAY_BE_ZERO, TEXT, UNIFORM, Electronics
from .geometry import Geometry, build_geometry, overlapping
from .layout import Layout, planes, read_layout
from .mobility import drift_velocity
from .parameters import BOUNDS, PHYSICAL, SIGNED, Parameters, electronic_bounds
from .properties import ELECTRONICS, KNOWN, Properties, sort_keys

log = logging.getLogger(__name__)

MOST_PIXELS = 10**8  # of all TPCs together
HOLD_CLOCKS = 3  # clocks that pass before the hold delay of the files begins


def load_detector(detector: PathLike = "module0", layout: PathLike | Sequence[PathLike] | None = None) -> Detector:
    """A detector: built in, or described by a YAML file in the predecessor's or in DUNE's dialect.

    `layout` is the file of the pixel layout, or one per module; without it, that of the built-in module 0.
    """
    properties, default = _read_source(detector)
    layouts = [default] if layout is None else _read_layouts(layout)
    layouts = _one_per_module(layouts, properties)
    parameters = _parameters(properties, len(layouts))
    static = properties.positive("vdrift_static", len(layouts)) if "vdrift_static" in properties else parameters.vdrift
    window = properties.interval("time_interval") if "time_interval" in properties else (0.0, 200.0)
    electronics = _electronics(properties, len(layouts))
    geometry = build_geometry(layouts, _offsets(properties, layouts), _drift_lengths(properties, layouts))
    _check_geometry(geometry, properties)
    return Detector(
        name=Path(detector).stem,
        parameters=parameters,
        geometry=geometry,
        electronics=electronics,
        layouts=tuple(layouts),
        io_groups=_io_groups(properties, layouts),
        vdrift_static=static,
        bounds={**BOUNDS, **electronic_bounds(electronics)},
        time_interval=window,
    )


def _read_source(source: PathLike) -> tuple[Properties, Layout]:
    """What the detector file (or the built-in detector) says, and the layout that it comes with."""
    if isinstance(source, str) and source in BUILTIN:
        values, layout = BUILTIN[source]()
        return sort_keys(values, source)[0], layout
    if not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        names = ", ".join(BUILTIN)
        must = f"be the name of a built-in detector ({names}) or the path of a YAML file"
        remedy = f"{did_you_mean(str(source), BUILTIN)} Give one of these names, or an existing file.".strip()
        raise ArgumentError("detector", must, f"{str(source)!r} is neither", remedy)
    properties, unknown = sort_keys(read_yaml(source, "detector"), str(source))
    if unknown:
        warnings.warn(describe_unknown(unknown, KNOWN, source), stacklevel=3)
    return properties, module0_layout()


def _read_layouts(layout: PathLike | Sequence[PathLike]) -> list[Layout]:
    """The layouts in the order given; a file that is named several times is read once."""
    if not isinstance(layout, list | tuple):
        return [read_layout(layout)]  # type: ignore[arg-type]
    if not layout:
        raise ArgumentError("layout", "be a file, or one file per module", "the list is empty", "Name a file.")
    read = {path: read_layout(path) for path in dict.fromkeys(layout)}
    return [read[path] for path in layout]


def _one_per_module(layouts: list[Layout], properties: Properties) -> list[Layout]:
    """As many layouts as the detector file has modules: a single one serves them all."""
    n_modules = len(layouts)
    if "tpc_offsets" in properties and "tpc_centers" in properties:
        raise properties.error("tpc_offsets", "be given without `tpc_centers`", "both are", "Remove one of them.")
    if "tpc_offsets" in properties:
        n_modules = len(properties.vectors("tpc_offsets"))
    if "tpc_centers" in properties:
        n_modules = max(len(properties.vectors("tpc_centers")) // layouts[0].n_tpcs, 1)
    if len(layouts) not in (1, n_modules):
        must = f"be one file, or one per module ({n_modules} in {properties.where})"
        raise ArgumentError("layout", must, f"{len(layouts)} are given", "Name the missing files, or drop some.")
    return layouts if len(layouts) == n_modules else layouts * n_modules


def _offsets(properties: Properties, layouts: list[Layout]) -> np.ndarray:
    """Where the module of each plane lies, (plane, 3) as (x, y, z), cm."""
    if "tpc_offsets" in properties:
        return properties.vectors("tpc_offsets")[[module for module, _ in planes(layouts)]]
    if "tpc_centers" not in properties:
        return np.concatenate([layout.tpc_centre for layout in layouts])
    centres, n_planes = properties.vectors("tpc_centers"), sum(layout.n_tpcs for layout in layouts)
    if len(centres) != n_planes:
        but = f"it lists {len(centres)}"
        raise properties.error("tpc_centers", f"list one position per TPC ({n_planes})", but, "Correct the list.")
    return centres


def _drift_lengths(properties: Properties, layouts: list[Layout]) -> np.ndarray:
    """Distance from anode to cathode of each plane, cm.

    A layout that states it knows best, since it also states where the anodes are; then the detector file;
    else the cathode is thin and half-way between the anodes.
    """
    stated = None
    if "drift_length" in properties:
        stated = np.broadcast_to(properties.positive("drift_length", len(layouts)), len(layouts))
    lengths: list[float] = []
    clashes: set[tuple[float, str, float, str]] = set()
    for module, layout in enumerate(layouts):
        length = layout.drift_length
        if length is None:
            length = float(np.ptp(layout.centre[:, 2])) / 2 if stated is None else float(stated[module])
        elif stated is not None and abs(length - stated[module]) > 1e-6:
            clashes |= {(float(stated[module]), properties.where, length, layout.name)}
        if length <= 0.0:
            remedy = f"Add it to {properties.where}."
            raise ArgumentError("drift_length", "be known", f"{layout.name} has one anode only", remedy)
        check_within("drift_length", length, (0.0, LONGEST_DRIFT), "cm", f"{properties.where} with {layout.name}")
        lengths += [length] * layout.n_tpcs
    for clash in sorted(clashes):
        log.warning("drift_length is %g cm in %s and %g cm in %s: the layout's is used", *clash)
    return np.array(lengths)


def _check_geometry(geometry: Geometry, properties: Properties) -> None:
    """Refuse pixels whose maps take all memory, and modules at the same place."""
    if (pixels := math.prod(geometry.shape)) > MOST_PIXELS:
        but = f"{geometry.n_planes} TPCs have {pixels:.3g}, as many each as the largest"
        raise properties.error("detector", f"have {MOST_PIXELS:g} pixels at most", but, "Leave out modules.")
    if pair := overlapping(geometry):
        modules = geometry.module[list(pair)] + 1
        key = next((name for name in ("tpc_offsets", "tpc_centers") if name in properties), "layout")
        but = f"TPCs {pair[0] + 1} and {pair[1] + 1}, of modules {modules[0]} and {modules[1]}, overlap"
        raise properties.error(key, "give each TPC a place of its own", but, "Correct it.")


def _parameters(properties: Properties, n_modules: int) -> Parameters:
    """The nominal values: those of the file, else those of the table."""
    values: dict[str, Any] = {}
    for name in PHYSICAL:
        if name in properties:
            read = properties.numbers if name in SIGNED else properties.positive
            values[name] = read(name, n_modules)
    parameters = Parameters(**values)
    if "vdrift" not in values and properties.uses("e_field"):  # DUNE's files leave it to the field
        return parameters._replace(vdrift=drift_velocity(parameters.eField, parameters.temperature))
    return parameters


def _electronics(properties: Properties, n_modules: int) -> Electronics:
    """The settings of the file, else the defaults."""
    values: dict[str, Any] = {}
    for name in dict.fromkeys(ELECTRONICS.values()):
        if name not in properties or name in TEXT:
            continue
        value = properties.positive(name, n_modules, zero=name in (*MAY_BE_ZERO, "hold_delay"))
        if name in (*UNIFORM, "hold_delay"):
            value = _uniform(properties, name, value)
        values[name] = value
    if "digitisation" in properties:
        values["digitisation"] = properties.word("digitisation", DIGITISATIONS)
    if "hold_delay" in values:
        values["hold_ticks"] = HOLD_CLOCKS + values.pop("hold_delay")
    return Electronics(**values)


def _uniform(properties: Properties, name: str, value: float | np.ndarray) -> float | int:
    """A value that all modules share: whole, unless it is the length of the clock."""
    key = properties.entries[name][0]
    if isinstance(value, np.ndarray):
        raise properties.error(key, "be the same for all modules", f"it is {value}", "Write one value.")
    if name == "clock":
        return value
    if value != int(value):
        raise properties.error(key, "be a whole number", f"it is {value}", "Round it.")
    return int(value)


def _io_groups(properties: Properties, layouts: list[Layout]) -> tuple[tuple[int, ...], ...]:
    """The detector's numbers of each module's io groups: as the file lists them, else consecutive."""
    if "module_to_io_groups" not in properties:
        ends = np.cumsum([layout.n_groups for layout in layouts]).tolist()
        return tuple(
            tuple(range(end - layout.n_groups + 1, end + 1)) for end, layout in zip(ends, layouts, strict=True)
        )
    table = properties.entries["module_to_io_groups"][1]
    try:
        groups = tuple(tuple(int(group) for group in table[module + 1]) for module in range(len(layouts)))
    except (KeyError, IndexError, TypeError, ValueError):
        groups = ()
    enough = groups and all(len(own) >= layout.n_groups for own, layout in zip(groups, layouts, strict=True))
    everyone = [group for own in groups for group in own]
    if not enough or len(set(everyone)) < len(everyone):
        must = f"list the io groups of each module from 1 to {len(layouts)}, each group once"
        but = f"it is {table!r}, and the layout has {layouts[0].n_groups} groups per module"
        raise properties.error("module_to_io_groups", must, but, "Correct it.")
    return groups
