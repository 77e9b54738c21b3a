"""How far a prediction is from the data: scalar functions of simulated hits or waveforms, differentiable.

Written in EagerPy; whatever decides a shape or a match of pixels is NumPy, outside the gradient. Each loss is zero,
and so is its gradient, where the prediction equals the target.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from larndsim.errors import ArgumentError, check_choice, did_you_mean

from .base import Loss, Repeated, ResidualLoss
from .hits import HitsLoss
from .likelihood import LikelihoodLoss
from .mmd import MMD
from .nearest import Chamfer, SpaceMatch
from .sinkhorn import Sinkhorn
from .soft_dtw import SoftDTW
from .waveform import WaveformLoss

__all__ = ["LOSSES", "Loss", "Repeated", "ResidualLoss", "get_loss"]

LOSSES: dict[str, type[Loss]] = {
    "likelihood": LikelihoodLoss,
    "hits": HitsLoss,
    "waveform": WaveformLoss,
    "space_match": SpaceMatch,
    "chamfer": Chamfer,
    "soft_dtw": SoftDTW,
    "mmd": MMD,
    "sinkhorn": Sinkhorn,
}


def get_loss(name: str, **options: Any) -> Loss:
    """The loss of that name with the given options; an option that it does not have is refused.

    >>> get_loss("soft_dtw", compare="charge", gamma=0.5)
    SoftDTW(compare='charge', gamma=0.5, charge=1000.0, time=3.0, unmatched=10.0)
    """
    check_choice("loss", name, LOSSES)
    known = [field.name for field in fields(LOSSES[name])]
    for option in options:
        if option not in known:
            must = f"be an option of the loss {name}: {', '.join(known) or 'it has none'}"
            raise ArgumentError(option, must, "it is not", did_you_mean(option, known))
    return LOSSES[name](**options)
