"""The ways to minimise, by name."""

from __future__ import annotations

from .approach import Approach
from .base import CONVERGED, FAILED, RUNNING, Method, State
from .fisher import Fisher
from .gradient import SCHEDULES, Gradient
from .lbfgs import LBFGS
from .minuit import Minuit
from .near import Near

__all__ = ["CONVERGED", "FAILED", "METHODS", "RUNNING", "SCHEDULES", "Gradient", "Method", "Near", "State"]

METHODS: dict[str, type[Method]] = {
    "fisher": Fisher,
    "gauss-newton": Approach,
    "gradient": Gradient,
    "lbfgs": LBFGS,
    "minuit": Minuit,
}
