"""Stage 5, waveforms -> what the chips record: the models of the electronics, noise, and the likelihood of hits."""

from __future__ import annotations

from ..detector import Channel
from .models import MODELS, PixelHits, digitize

__all__ = ["MODELS", "Channel", "PixelHits", "digitize"]
