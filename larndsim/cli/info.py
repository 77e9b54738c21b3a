"""Say what a file holds: segments, hits, packets, a detector or a pixel layout.

The name of a built-in detector will do, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ArgumentError

EXAMPLE = "larndsim info module0"

Lines = Iterator[tuple[str, Any]]
YAML = (".yaml", ".yml")
NOTABLE = ("v_cm", "v_ref", "digitisation", "hold_ticks", "max_hits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One file."""
    parser.add_argument("file", metavar="FILE", help="HDF5 or YAML file, or the name of a built-in detector")


def run(arguments: argparse.Namespace) -> None:
    """Find out what it is, and print it, a line per fact."""
    path = arguments.file
    if Path(path).suffix in YAML or not Path(path).exists():
        kind, lines = _yaml(path)
    else:
        kind, lines = _hdf5(path)
    facts = list(lines)
    width = max(len(name) for name, _ in facts)
    print(f"{path}: {kind}")
    for name, value in facts:
        print(f"  {name:{width}}  {value}")


def _hdf5(path: str) -> tuple[str, Lines]:
    from ..io.contents import kind_of

    kind = kind_of(path)
    if kind is None:
        raise ArgumentError("file", "hold segments, hits or packets", f"{path} holds none of them")
    return kind, {"segments": _segments, "hits": _hits, "packets": _packets}[kind](path)


def _segments(path: str) -> Lines:
    import h5py

    from ..io.contents import event_counts, ranges_of

    events, counts = event_counts(path)
    with h5py.File(path) as file:
        dataset = "segments" if "segments" in file else "tracks"
    yield "events", _span(events)
    if len(counts):
        yield "segments per event", f"{counts.min()} to {counts.max()}"
    yield from _ranges(*ranges_of(path, dataset), "segments")


def _hits(path: str) -> Lines:
    import numpy as np

    from ..io import read_hits_info
    from ..io.contents import ranges_of
    from ..io.hdf5 import opened

    attributes = read_hits_info(path)  # first, since it refuses what are no hits of ours
    rows, ranges = ranges_of(path, "hits")
    with opened(path, "hits") as file:
        yield "events with hits", _span(np.unique(file["hits"]["event"]))
        yield "pairs of hit and segment", len(file["mc_hits_assn"]) if "mc_hits_assn" in file else "none"
    yield from _ranges(rows, ranges, "hits")
    yield from _attributes(attributes)


def _packets(path: str) -> Lines:
    import numpy as np

    from ..io.contents import ranges_of
    from ..io.hdf5 import opened, read_attributes, table_of
    from ..io.packets import PACKET_FIELDS, PACKET_TYPES

    rows, ranges = ranges_of(path, "packets")
    with opened(path, "packets") as file:
        packets = table_of(file, "packets", PACKET_FIELDS, "be an HDF5 file of LArPix packets")
        kinds, counts = np.unique(packets["packet_type"], return_counts=True)
        yield "format", f"LArPix+HDF5 {file['_header'].attrs['version']}" if "_header" in file else "LArPix+HDF5"
        for kind, count in zip(kinds, counts, strict=True):
            yield f"{PACKET_TYPES.get(int(kind), kind)} packets", count
        yield "truth", "yes" if "mc_packets_assn" in file else "no"
        attributes = read_attributes(file)
    wanted = ("io_group", "io_channel", "chip_id", "timestamp", "dataword")
    yield from _ranges(rows, {name: value for name, value in ranges.items() if name in wanted}, "packets")
    yield from _attributes(attributes)


def _attributes(attributes: dict[str, Any]) -> Lines:
    """How the file was made."""
    for name, value in attributes.items():
        if name == "detector" and isinstance(value, dict):
            yield name, value.get("name")
        elif name == "parameters" and isinstance(value, dict):
            yield from value.items()
        else:
            yield name, "none" if value is None else value


def _ranges(rows: int, ranges: dict[str, tuple[Any, Any]], what: str) -> Lines:
    """The number of rows, and the range of each column."""
    yield what, rows
    for name, (low, high) in ranges.items():
        yield name, _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _span(events: Any) -> str:
    """How many there are, from which to which."""
    return f"{len(events)}, from {events.min()} to {events.max()}" if len(events) else "0"


def _number(value: Any) -> str:
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def _yaml(path: str) -> tuple[str, Lines]:
    from ..detector.builtin import BUILTIN
    from ..detector.checks import read_yaml
    from ..detector.layout import REQUIRED

    if path in BUILTIN:
        return "built-in detector", _detector(path)
    if not Path(path).exists():
        names = ", ".join(BUILTIN)
        raise ArgumentError("file", f"be a file or a built-in detector ({names})", f"{path} does not exist")
    keys = read_yaml(path, "file")
    is_layout = sum(key in keys for key in REQUIRED) >= 2
    return ("pixel layout", _layout(path)) if is_layout else ("detector", _detector(path))


def _detector(path: str) -> Lines:
    import larndsim

    from ..detector.parameters import unit_of

    detector = larndsim.load_detector(path)
    geometry = detector.geometry
    yield "planes", geometry.n_planes
    for plane in range(geometry.n_planes):
        g = geometry._make(column[plane] for column in geometry)
        yield (
            f"plane {plane}",
            f"x {g.x_low:.3f} to {g.x_high:.3f}, y {g.y_low:.3f} to {g.y_high:.3f}, anode at z {g.anode_z:.3f} cm, "
            f"{g.n_x} x {g.n_y} pixels of {g.pitch:.4f} cm",
        )
    yield "drift length", f"{detector.drift_length:g} cm"
    for name, value in detector.nominal._asdict().items():
        yield name, f"{value} {unit_of(name)}".rstrip()
    for name in NOTABLE:
        yield name, getattr(detector.electronics, name)


def _layout(path: str) -> Lines:
    from ..detector.layout import read_layout

    layout = read_layout(path)
    yield "pixel pitch", f"{layout.pitch:g} cm"
    yield "TPCs", layout.n_tpcs
    yield "tiles", len(layout.tpc)
    yield "pixels per tile", " x ".join(map(str, layout.chip.shape))
    yield "channels per tile", int((layout.chip >= 0).sum())
    yield "io groups", layout.n_groups
    for tpc in range(layout.n_tpcs):
        low, high, (n_x, n_y) = layout.low_corner(tpc), layout.high_corner(tpc), layout.n_pixels(tpc)
        x, y = (f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True))
        yield f"TPC {tpc}", f"x {x}, y {y} cm from the module's centre, {n_x} x {n_y} pixels"
