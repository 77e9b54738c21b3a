"""Files in and out: segments of edep-sim."""

from __future__ import annotations

from .atomic import replacing
from .segments import read_segments, segments_from_array, stream_segments, write_segments

__all__ = ["read_segments", "replacing", "segments_from_array", "stream_segments", "write_segments"]
