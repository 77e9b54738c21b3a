"""Draw an event of a file of hits: pixel planes, drift times, space, and the waveforms of the brightest pixels.

The true segments and the waveforms come from the file of segments that the hits were made of, where it still is.
"""

from __future__ import annotations

import argparse

from ..errors import ArgumentError

EXAMPLE = "larndsim display hits.h5 --event 1 --out event.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which event, and where to."""
    parser.add_argument("hits", metavar="HITS.h5", help="file of hits")
    parser.add_argument("--event", type=int, required=True, metavar="N", help="number of the event")
    parser.add_argument("--out", default="event.png", metavar="FILE", help="PNG, PDF or SVG (default: %(default)s)")
    parser.add_argument("--segments", metavar="IN.h5", help="file of segments (default: what the hits were made of)")


def run(arguments: argparse.Namespace) -> None:
    """Draw, write, and say what was drawn."""
    from ..display import draw_event, load_event
    from ..io import replacing

    suffix = arguments.out.rpartition(".")[2].lower()
    if suffix not in ("png", "pdf", "svg"):
        raise ArgumentError("out", "end in .png, .pdf or .svg", f"it is {arguments.out!r}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[plots]'."
        raise ArgumentError("display", "have matplotlib", "it is not installed", remedy) from error
    with replacing(arguments.out) as temporary:
        event = load_event(arguments.hits, arguments.event, arguments.segments)
        draw_event(event).savefig(temporary, dpi=130)
    lacking = ""
    if event.segments is None:
        lacking = "; the file of segments is not there, so truth and waveforms are left out"
    elif event.waveforms is None:
        lacking = "; the files of the detector are not there, so waveforms are left out"
    print(f"{arguments.out}: event {event.number}, {len(event.hits)} hits{lacking}")
