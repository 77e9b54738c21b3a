"""Files in and out: segments of edep-sim, hits, LArPix packets."""

from __future__ import annotations

from .atomic import replacing
from .contents import event_counts
from .hits import HitsWriter, read_hits, read_hits_info, read_hits_truth
from .packets import PacketsWriter, read_packets
from .segments import read_segments, segments_from_array, stream_segments, write_segments

__all__ = [
    "HitsWriter",
    "PacketsWriter",
    "event_counts",
    "read_hits",
    "read_hits_info",
    "read_hits_truth",
    "read_packets",
    "read_segments",
    "replacing",
    "segments_from_array",
    "stream_segments",
    "write_segments",
]
