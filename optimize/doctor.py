"""What a physicist should know before believing a fit, in sentences.

A remark is made where a figure is beyond what chance makes of it in one fit of some hundred, or beyond use.
"""

from __future__ import annotations

import numpy as np

from larndsim.detector.parameters import unit_of

from .goodness import SOFT, Factor, Goodness
from .residuals import Residuals
from .scaling import Scaling
from .tables import probability
from .uncertainties import directions

DISAGREE = 1.5  # times that errors of two forms may differ
USELESS = 1.0  # half ranges: an error as large as that says no more than the range
LITTLE = 0.05  # of log L: what a step may still promise
RARE = 0.01  # p-values on either side
CHANCE, SLIGHT = 4.0, 0.05  # standard errors, and the difference, by which a factor of the noise must be off
ENOUGH = 6  # simulated tables, for the standard error of a factor
SHOWN = 3  # pixels that are named
UNLIKELY = 1.5  # times the largest pull of any pixel in any simulated table: beyond it a pixel is named


def remarks(scaling: Scaling, u: np.ndarray, found: Goodness | None) -> tuple[str, ...]:
    """All remarks on a minimum; `found` is None for losses that are no likelihood."""
    said = [*_limits(scaling, u, "" if found is None else ": its interval has one side")]
    if found is not None:
        free = ~scaling.at_bound(u)
        said += [*_unknown(scaling, found.matrix), *_combinations(scaling.names, found.matrix, free)]
        said += [*_falling(found.gain), *_likely(found.p_value), *_noisy(found)]
        said += [*_forms(scaling.names, found, free), *_pixels(found.residuals)]
    return tuple(said)


def _limits(scaling: Scaling, u: np.ndarray, then: str) -> list[str]:
    said, value = [], scaling.physical(u)
    sides = ((u <= scaling.low, "lower"), (u >= scaling.high, "upper"))
    for at, side in sides:
        for number in np.flatnonzero(at):
            name = scaling.names[number]
            at_limit = f"{value[number]:.5g} {unit_of(name)}".rstrip()
            said.append(f"{name} is at its {side} limit, {at_limit}{then}.")
    return said


def _unknown(scaling: Scaling, matrix: np.ndarray) -> list[str]:
    """Parameters that the data say nothing about."""
    names, size = np.array(scaling.names), np.diag(matrix)
    idle = names[size <= 0.0]
    said = [f"The data do not depend on {', '.join(idle)}: leave it out of the fit."] if idle.size else []
    known = size > 0.0
    with np.errstate(invalid="ignore"):
        wide = names[known][1.0 / np.sqrt(size[known]) > USELESS]
    if wide.size:
        said.append(f"The data say next to nothing about {', '.join(wide)}, even if all others were known.")
    return said


def _combinations(names: tuple[str, ...], matrix: np.ndarray, free: np.ndarray) -> list[str]:
    """Combinations of parameters that leave the data as they are."""
    chosen = free & (np.diag(matrix) > 0.0)
    if chosen.sum() < 2:
        return []
    said = []
    for strength, combination in directions(matrix[np.ix_(chosen, chosen)], np.array(names)[chosen].tolist()):
        if strength < 1.0 - SOFT:
            times = 1.0 / np.sqrt(max(strength, 1e-12))
            said.append(
                f"The data hardly know the combination {combination} (each in units of its error with the others held):"
                f" it is {times:.0f} times less certain than each alone. Hold one of them, or constrain it."
            )
    return said


def _falling(gain: float) -> list[str]:
    if np.isfinite(gain) and gain > LITTLE:
        return [f"The likelihood still rises: a further step promises {gain:.2g} of log L. Let the fit go on."]
    return []


def _likely(p_value: float) -> list[str]:
    if p_value < RARE:
        return [f"The model hardly makes data as unlikely as these ({probability(p_value)})."]
    if p_value > 1.0 - RARE:
        chance = probability(p_value)
        return [f"The data are likelier than what the model makes ({chance}): their noise may be smaller."]
    return []


def _noisy(found: Goodness) -> list[str]:
    """The noise of the data against that of the model, by the spread of the hits."""
    toys = 0 if found.residuals is None else len(found.residuals.pulls) - 1
    off = {name: factor for name, factor in found.noise.items() if toys >= ENOUGH and _is_off(factor)}
    said = []
    for word, sign in (("noisier", 1.0), ("quieter", -1.0)):
        which = {name: factor for name, factor in off.items() if sign * (factor.value - 1.0) > 0.0}
        if which:
            by = " and ".join(
                f"{factor.value:.2f} +- {factor.error:.2f} by {WORDS[name]}" for name, factor in which.items()
            )
            said.append(f"The data are {word} than the model: their hits scatter by a factor of {by}.")
    return said


WORDS = {"adc": "their ADC counts", "tick": "their ticks"}


def _is_off(factor: Factor) -> bool:
    away = abs(factor.value - 1.0)
    return bool(np.isfinite(away) and away > max(CHANCE * factor.error, SLIGHT))


def _forms(names: tuple[str, ...], found: Goodness, free: np.ndarray) -> list[str]:
    """Errors that disagree with those of other forms."""
    said = []
    for what, ratios, chance in (("scores", found.sandwich, found.chance), ("curvature", found.observed, 0.0)):
        with np.errstate(invalid="ignore"):
            off = ((ratios > DISAGREE) | (ratios < 1.0 / DISAGREE)) & (np.abs(ratios - 1.0) > CHANCE * chance)
        apart = [f"{names[row]} {ratios[row]:.2g}" for row in np.flatnonzero(off)]
        if apart:
            said.append(f"The data's own {what} give other errors, so many times those stated: {', '.join(apart)}.")
    if free.any() and np.isnan(found.observed[free]).any() and np.isfinite(found.matrix).all():
        said.append("The likelihood of the data has no maximum here: its curvature has the wrong sign somewhere.")
    return said


def _pixels(residuals: Residuals | None) -> list[str]:
    """Pixels that the model does not describe, the worst first."""
    if residuals is None:
        return []
    worst = worst_pixels(residuals)
    if not worst.size:
        return []
    named = "; ".join("plane {}, ix {}, iy {}".format(*residuals.pixel[row]) for row in worst[:SHOWN])
    more = f"; and {worst.size - SHOWN} more" if worst.size > SHOWN else ""
    which = "1 pixel is" if worst.size == 1 else f"{worst.size} pixels are"
    return [f"Of {len(residuals.pixel)} pixels, {which} far less likely than any simulated one: {named}{more}."]


def worst_pixels(residuals: Residuals) -> np.ndarray:
    """Rows of the pixels that are far less likely than any simulated one, the worst first."""
    order = np.argsort(-residuals.pixel_pull, kind="stable")
    return order[residuals.pixel_pull[order] > UNLIKELY * residuals.largest_pull[1:].max()]
