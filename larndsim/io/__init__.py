"""Files in and out: segments of edep-sim, hits, LArPix packets."""

from __future__ import annotations

from ..data.segment_tables import segments_from_array
from .atomic import replacing
from .contents import event_counts, kinds_of
from .hits import HitsWriter, read_hits, read_hits_info, read_hits_truth
from .packet_hits import PacketTimes, read_packet_hits
from .packets import PacketsWriter, read_packets
from .segments import read_segments, stream_segments, write_segments

__all__ = [
    "HitsWriter",
    "PacketTimes",
    "PacketsWriter",
    "event_counts",
    "kinds_of",
    "read_hits",
    "read_hits_info",
    "read_hits_truth",
    "read_packet_hits",
    "read_packets",
    "read_segments",
    "replacing",
    "segments_from_array",
    "stream_segments",
    "write_segments",
]
