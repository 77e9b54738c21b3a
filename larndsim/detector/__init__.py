"""Everything about a detector, as small immutable values; and loading."""

from .channel_files import (
    UNIQUE_IDS,
    load_bad_channels,
    load_channel_maps,
    load_channel_values,
    load_pedestals,
    load_references,
)
from .channels import Channel, channel_maps
from .detector import Detector
from .digitisation import adc_cell, charge_of, check_words
from .electronics import Electronics
from .geometry import Geometry, pixel_centre, plane_of
from .loading import load_detector
from .mobility import drift_velocity
from .parameters import BOUNDS, Bound, Parameters
from .readout import Readout

__all__ = [
    "BOUNDS",
    "UNIQUE_IDS",
    "Bound",
    "Channel",
    "Detector",
    "Electronics",
    "Geometry",
    "Parameters",
    "Readout",
    "adc_cell",
    "channel_maps",
    "charge_of",
    "check_words",
    "drift_velocity",
    "load_bad_channels",
    "load_channel_maps",
    "load_channel_values",
    "load_detector",
    "load_pedestals",
    "load_references",
    "pixel_centre",
    "plane_of",
]
