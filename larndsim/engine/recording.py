"""Around stage 5: the electronics behind the pixels of a chunk and their noise, and the hits put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend import map_leaves
from ..backend.operations import to_real
from ..charge import Signal
from ..data.batch import Chunk, Pixels
from ..data.hits import RECORDED, Slots
from ..detector import Channel, Detector, Electronics
from ..detector.geometry import pixel_centre
from ..electronics.chip import Blocks, Waveform
from ..electronics.models import MODELS, digitize
from ..electronics.noise import Noise, Widths, draw
from ..electronics.tuning import Tuner, tuned, tuned_channel, tuner_of


class Recorder(NamedTuple):
    """What stands behind the pixels of a chunk. Axis: (pixel,)."""

    channel: Channel
    tuner: Tuner  # how the channels follow the parameters of the electronics
    anode: Any  # cm, z of the anode
    slope: Any  # cm per tick, how z follows from the drift time


def recorder_of(pixels: Pixels, channels: Channel, detector: Detector) -> Recorder:
    """What stands behind some pixels."""
    geometry, plane = detector.geometry, pixels.plane
    velocity = np.broadcast_to(detector.vdrift_static, (int(geometry.module.max()) + 1,))[geometry.module[plane]]
    slope = -geometry.direction[plane] * velocity * detector.electronics.clock
    channel = channels_of(channels, pixels)
    return Recorder(channel, tuner_of(channel, plane, detector), geometry.anode_z[plane], slope)


def channels_of(maps: Channel, pixels: Pixels) -> Channel:
    """The electronics behind some pixels. Axis: (pixel,)."""
    return map_leaves(lambda values: np.asarray(values[pixels.plane, pixels.ix, pixels.iy], dtype=np.float64), maps)


def noise_of(
    seed: int, pixels: Pixels, blocks: Blocks, length: int, module: np.ndarray, settings: Electronics
) -> Noise:
    """The noise of some pixels: it depends on the seed, the event and the pixel alone. `module` is that of planes.

    `blocks`, of so many ticks each, say for which ticks.
    """
    return draw(seed, pixels, length, settings.per_pixel(module[pixels.plane]), blocks)


def widths_of(pixels: Pixels, module: np.ndarray, settings: Electronics) -> Widths:
    """How wide the noise of some pixels is. `module` is that of each plane."""
    settings = settings.per_pixel(module[pixels.plane])
    widths = settings.reset_noise, settings.uncorrelated_noise, settings.discriminator_noise
    return Widths(*(np.full(pixels.ix.shape, width, dtype=np.float64) for width in widths))


def settings_of(detector: Detector, channels: Channel) -> Electronics:
    """The electronics, with the highest threshold of all live channels: up to there levels are looked for."""
    return replace(detector.electronics, threshold=float(channels.threshold[channels.live > 0.0].max(initial=1.0)))


def blocks_of(chunk: Chunk) -> Blocks:
    """Where the waveforms of a chunk are."""
    return Blocks(chunk.block_pixel, chunk.block_tick, chunk.first_block, chunk.ticks)


def recorded(
    signal: Signal, blocks: Blocks, recorder: Recorder, noise: Noise | Widths | None, electronic: Any,
    settings: Electronics, model: str, columns: int,
) -> Any:  # fmt: skip
    """Hits, ticks from the event's reference time: the columns `RECORDED`, without the last three if they are None.

    `electronic` are the parameters of the electronics, or None where they are the detector's. A model that predicts
    goes through so many `columns` of each waveform. Axes: (pixel, hit, column).
    """
    if electronic is not None:
        recorder = recorder._replace(channel=tuned_channel(recorder.channel, tuned(electronic, recorder.tuner)))
    waveform = Waveform(signal.charge, blocks)
    waveform = Waveform.of_rows(waveform.rows(columns)) if MODELS[model].predicts else waveform
    hits = digitize(waveform, signal.end, recorder.channel, noise, settings, model)
    tick = hits.tick + ep.expand_dims(signal.start, 1)
    z = tick * ep.expand_dims(recorder.slope, 1) + ep.expand_dims(recorder.anode, 1)
    prediction = (column for column in hits[4:] if column is not None)
    return ep.stack([z, tick, hits.charge, hits.adc, to_real(hits.mask, tick), *prediction], axis=-1)


def columns_of(rows: Any) -> tuple[Any, ...]:
    """What is `recorded` of all pixels (pixel, hit, column), by columns. Axis: (hit,)."""
    flat = rows.reshape((-1, rows.shape[2]))
    found = [flat[:, column] for column in range(rows.shape[2])]
    mask = RECORDED.index("mask")
    return (*found[:mask], found[mask] > 0.5, *found[mask + 1 :])


def slots_of(pixels: Pixels, detector: Detector) -> Slots:
    """Who the hits of some pixels are."""
    orders = detector.electronics.max_hits
    event, plane, ix, iy, _, reference, burst = (np.repeat(column, orders) for column in pixels)
    order = np.tile(np.arange(orders), len(pixels.ix)) + orders * burst
    return Slots(event, plane, ix, iy, order, *pixel_centre(detector.geometry, plane, ix, iy), reference)
