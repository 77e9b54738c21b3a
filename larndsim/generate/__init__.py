"""Sample segments: muons, stopping protons, cosmics."""

from __future__ import annotations

from .samples import generate

__all__ = ["generate"]
