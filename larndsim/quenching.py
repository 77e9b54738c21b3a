"""Stage 1, energy deposits -> electrons: what recombination leaves of the ionisation.

electrons = R * dE * MeVToElectrons, with the surviving fraction R from one of the models below (`RECOMBINATION`).
Everything here is an EagerPy tensor of one shape; the parameters broadcast against it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eagerpy as ep

from .detector.parameters import Parameters


def birks(dEdx: Any, cos2: Any, parameters: Parameters) -> Any:
    """Surviving fraction after Birks' law; dEdx in MeV/cm. Amoruso et al., NIM A 523 (2004) 275."""
    return parameters.Ab / (1.0 + parameters.kb * dEdx / (parameters.eField * parameters.lArDensity))


def box(dEdx: Any, cos2: Any, parameters: Parameters) -> Any:
    """Surviving fraction after the modified box model. Acciarri et al. (ArgoNeuT), JINST 8 (2013) P08005."""
    return _box_fraction(parameters.beta * dEdx / (parameters.eField * parameters.lArDensity), parameters.alpha)


def ellipsoid(dEdx: Any, cos2: Any, parameters: Parameters) -> Any:
    """The box model with a slope that depends on the angle to the drift (`cos2`). ICARUS, JINST 20 (2025) P01033."""
    beta = parameters.beta / ep.sqrt(1.0 - cos2 + cos2 / parameters.R_param**2)
    return _box_fraction(beta * dEdx / (parameters.eField * parameters.lArDensity), parameters.alpha)


def _box_fraction(xi: Any, alpha: Any) -> Any:
    """ln(alpha + xi) / xi, held at 0 where it is negative (alpha < 1, small xi); safe at xi = 0."""
    positive = alpha + xi > 1.0
    safe = ep.where(positive, xi, ep.ones_like(xi))
    fraction = ep.log(ep.where(positive, alpha + xi, ep.ones_like(xi))) / ep.maximum(safe, SMALLEST_XI)
    return ep.where(positive, fraction, ep.zeros_like(xi))


SMALLEST_XI = 1e-6  # with alpha above 1 the model diverges as dE/dx goes to 0: no deposit is that thin

RECOMBINATION: dict[str, Callable[[Any, Any, Parameters], Any]] = {"birks": birks, "box": box, "ellipsoid": ellipsoid}


def quench(dE: Any, dEdx: Any, cos2: Any, parameters: Parameters, model: str = "birks") -> Any:
    """Electrons that leave the deposit; dE in MeV, dEdx in MeV/cm, cos2 the squared cosine to the drift."""
    return RECOMBINATION[model](dEdx, cos2, parameters) * dE * parameters.MeVToElectrons
