"""Everything about a detector, as small immutable values; and loading."""

from .channels import load_bad_channels, load_channel_values
from .detector import Detector
from .electronics import Electronics
from .geometry import Geometry, pixel_centre, plane_of
from .loading import load_detector
from .mobility import drift_velocity
from .parameters import BOUNDS, Bound, Parameters
from .readout import Readout

__all__ = [
    "BOUNDS",
    "Bound",
    "Detector",
    "Electronics",
    "Geometry",
    "Parameters",
    "Readout",
    "drift_velocity",
    "load_bad_channels",
    "load_channel_values",
    "load_detector",
    "pixel_centre",
    "plane_of",
]
