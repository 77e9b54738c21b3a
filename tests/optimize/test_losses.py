"""Every loss: zero at the target, its gradient against finite differences, and nothing undefined without hits."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import numpy as np
import pytest

from larndsim.backend import get_backend
from larndsim.data.hits import HIT_FIELDS, Hits
from larndsim.data.waveforms import Waveforms
from larndsim.errors import ArgumentError
from optimize.losses import LOSSES, Repeated, ResidualLoss, get_loss
from optimize.losses.base import rows_of

EVENTS, PIXELS, ORDERS = 2, 5, 2
COMPARING = [name for name in LOSSES if name != "likelihood"]  # a likelihood is of waveforms, not of hits
ON_HITS = [name for name in LOSSES if LOSSES[name].observable == "hits"]
VARIANTS = [
    *((name, {}) for name in ON_HITS),
    ("hits", {"threshold": 6500.0, "charge": 800.0}),
    ("soft_dtw", {"compare": "charge"}),
    ("soft_dtw", {"compare": "time", "gamma": 0.1}),
]
REAL = ("z", "charge", "tick")


@cache
def backend_of(name, dtype="float64"):
    return get_backend(name, "cpu", dtype)


def hits(backend, seed=0, missing=(), shift=0.0, events=EVENTS) -> Hits:
    """Two hits in each of five pixels of each event; the flat slots in `missing` are not real."""
    rng = np.random.default_rng(seed)
    count = events * PIXELS * ORDERS
    event = 2**33 + np.repeat(np.arange(events), PIXELS * ORDERS)
    pixel = np.tile(np.repeat(np.arange(PIXELS), ORDERS), events)
    order = np.tile(np.arange(ORDERS), events * PIXELS)
    x, y = 0.4434 * pixel, 0.4434 * (pixel // 2)
    z = 10.0 + 0.3 * pixel + 0.15 * order + 0.01 * rng.standard_normal(count) + shift
    charge = 9000.0 + 900.0 * pixel + 2500.0 * order + 300.0 * rng.standard_normal(count) + 2000.0 * shift
    tick = 1000.0 + 17.0 * pixel + 20.0 * order + rng.standard_normal(count) + 30.0 * shift
    real = ~np.isin(np.arange(count), missing)
    z, charge, tick = (np.where(real, column, 0.0) for column in (z, charge, tick))
    native = [backend.asarray(column) for column in (z, tick, charge, charge / 250.0)]
    identity = (event, np.zeros_like(event), pixel, pixel // 2, order, x, y)
    return Hits(*identity, *native, backend.asarray(real), np.full(count, 12_000_000.0))


NO_HITS = np.zeros(0, dtype=HIT_FIELDS)
CASES = {
    "all there": (hits, {"missing": ()}, {"seed": 1, "shift": 0.03}),
    "some not predicted": (hits, {"missing": (3, 8, 9)}, {"seed": 1, "shift": -0.02}),
    "some not found": (hits, {"missing": ()}, {"seed": 1, "missing": (1, 6, 7, 15)}),
    "an event not predicted": (hits, {"missing": tuple(range(10))}, {"seed": 1}),
    "an event not found": (hits, {}, {"seed": 1, "missing": tuple(range(10))}),
    "events beyond the plan": (hits, {"events": 1}, {"seed": 1}),
    "nothing found": (hits, {}, {"missing": tuple(range(20))}),
    "nothing predicted": (hits, {"missing": tuple(range(20))}, {"seed": 1}),
    "no slots": (hits, {"events": 0}, {"seed": 1}),
    "nothing at all": (hits, {"events": 0}, {"events": 0}),
}


def pair(case, backend):
    make, own, target = CASES[case]
    return make(backend, **own), make(backend_of("numpy"), **target).numpy()


def gradient(loss, prediction, target, backend):
    """Value, and gradients by the real-valued columns."""
    columns = {name: getattr(prediction, name) for name in REAL}
    return backend.value_and_grad(lambda v: loss.value(prediction._replace(**v), target, backend), columns)


def check_gradient(loss, prediction, target, backend):
    """Along a random direction per column, central differences of fourth order."""
    _, slopes = gradient(loss, prediction, target, backend)
    for number, (name, scale) in enumerate(zip(REAL, (1e-5, 1.0, 0.01), strict=True)):
        column = backend.numpy(getattr(prediction, name))
        direction = scale * np.random.default_rng(number).standard_normal(column.shape)

        def along(step, name=name, column=column, direction=direction):
            moved = prediction._replace(**{name: backend.asarray(column + step * direction)})
            return float(loss.value(moved, target, backend))

        near, far = along(1.0) - along(-1.0), along(2.0) - along(-2.0)
        slope = float((backend.numpy(slopes[name]) * direction).sum())
        assert slope == pytest.approx((8 * near - far) / 12, rel=1e-5, abs=1e-9), name


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize("case", ["all there", "some not predicted", "some not found"])
def test_gradient_against_finite_differences(name, options, case, differentiable_backend):
    backend = backend_of(differentiable_backend)
    check_gradient(get_loss(name, **options), *pair(case, backend), backend)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_zero_at_the_target(name, options, differentiable_backend):
    backend = backend_of(differentiable_backend)
    prediction = hits(backend, missing=(3, 9))
    value, slopes = gradient(get_loss(name, **options), prediction, prediction.numpy(), backend)
    assert abs(float(value)) < 1e-9
    steps = {"z": 0.01, "charge": 100.0, "tick": 1.0}
    for column, slope in slopes.items():
        assert abs(backend.numpy(slope)).max() * steps[column] < 1e-9, column


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_larger_further_away(name, options, backend):
    backend = backend_of(backend)
    target = hits(backend_of("numpy")).numpy()
    values = [float(get_loss(name, **options).value(hits(backend, shift=s), target, backend)) for s in (0.0, 0.1, 0.3)]
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("name", ON_HITS)
@pytest.mark.parametrize("case", CASES)
def test_nothing_undefined(name, case, differentiable_backend):
    backend = backend_of(differentiable_backend, "float32")
    value, slopes = gradient(get_loss(name), *pair(case, backend), backend)
    assert np.isfinite(float(value))
    assert float(value) > -1e-6
    for slope in slopes.values():
        assert np.isfinite(backend.numpy(slope)).all()


@pytest.mark.parametrize("name", ON_HITS)
@pytest.mark.parametrize("case", ["some not predicted", "an event not found", "events beyond the plan"])
def test_backends_agree(name, case, backend):
    backend = backend_of(backend)
    values = [float(get_loss(name).value(*pair(case, b), b)) for b in (backend_of("numpy"), backend)]
    assert values[0] == pytest.approx(values[1], rel=1e-10)
    assert values[0] > 0


def test_hits_that_fade_leave_no_step():
    """At the threshold a predicted hit may vanish: the loss does not notice."""
    backend = backend_of("numpy")
    target = hits(backend, seed=1).numpy()
    loss = get_loss("hits", threshold=7000.0)
    prediction = hits(backend)
    charge = np.array(prediction.charge)
    charge[4] = 7000.0
    mask = np.array(prediction.mask)
    mask[4] = False
    there = loss.value(prediction._replace(charge=charge), target, backend)
    gone = loss.value(prediction._replace(charge=charge, mask=mask), target, backend)
    assert float(there) == pytest.approx(float(gone), rel=1e-12)


@pytest.mark.parametrize("name", ["space_match", "chamfer"])
def test_a_hit_that_fades_takes_no_part_in_the_nearest(name):
    """A hit at the threshold, without partner, may come and go on either side: the loss does not notice."""
    backend = backend_of("numpy")
    whole, lacking = hits(backend, seed=1), hits(backend, missing=(5,))
    faint = whole._replace(charge=np.where(np.arange(len(whole.event)) == 5, 7000.0, whole.charge))
    gone = whole._replace(mask=np.arange(len(whole.event)) != 5)

    def cost(prediction, target, threshold):
        target = target.numpy()
        return float(get_loss(name, threshold=threshold).value(prediction, target, backend)) * len(target)

    assert cost(faint, lacking, 7000.0) == pytest.approx(cost(gone, lacking, 7000.0), rel=1e-12)
    assert cost(lacking, faint, 7000.0) == pytest.approx(cost(lacking, gone, 7000.0), rel=1e-12)
    assert cost(lacking, faint, 1e-3) > 1.2 * cost(lacking, gone, 1e-3)


def test_residuals_make_the_value(differentiable_backend):
    backend = backend_of(differentiable_backend)
    prediction, target = pair("some not found", backend)
    loss = get_loss("hits")
    residuals = backend.numpy(loss.residuals(prediction, target, backend))
    assert len(residuals) >= 3 * len(prediction.event)
    assert 0.5 * (residuals**2).mean() == pytest.approx(float(loss.value(prediction, target, backend)), rel=1e-12)
    _, columns = backend.jacobian(
        lambda v: loss.residuals(prediction._replace(charge=prediction.charge * v["scale"]), target, backend),
        {"scale": 1.0},
    )
    assert backend.numpy(columns["scale"]).shape == residuals.shape


def waveforms(backend, shift=0, seed=0) -> Waveforms:
    """Four pixels; the windows begin `shift` ticks later."""
    rows = np.arange(4)
    ticks = np.arange(40) + shift
    rise = np.clip((ticks[None, :] - 10 - rows[:, None]) / 15, 0, 1) * (8000 + 500 * rows[:, None] + 100 * seed)
    identity = (np.full(4, 2**33), rows * 0, rows, rows + 1)
    return Waveforms(*identity, 1.0e5 + 0.1 * shift + 0.0 * rows, 0.1, backend.asarray(rise.astype(float)), rows * 0)


@pytest.mark.parametrize("shift", [0, 7, -6])
def test_waveforms(shift, differentiable_backend):
    backend = backend_of(differentiable_backend)
    loss, prediction = get_loss("waveform"), waveforms(backend)
    assert float(loss.value(prediction, waveforms(backend_of("numpy"), shift), backend)) < 1e-20

    target = waveforms(backend_of("numpy"), shift, seed=1)
    value, slopes = backend.value_and_grad(
        lambda v: loss.value(prediction._replace(charge=v["charge"]), target, backend), {"charge": prediction.charge}
    )
    residuals = backend.numpy(loss.residuals(prediction, target, backend))
    assert 0.5 * (residuals**2).mean() == pytest.approx(float(value), rel=1e-12)
    known = residuals[: 4 * 40].reshape(4, 40) / residuals.size / loss.charge
    np.testing.assert_allclose(backend.numpy(slopes["charge"]), known, rtol=1e-10, atol=1e-16)


def test_waveforms_of_other_pixels():
    backend = backend_of("numpy")
    target = waveforms(backend)
    fewer = Waveforms(*(c[:3] for c in target[:5]), target.tick, target.charge[:3], target.burst[:3])
    residuals = get_loss("waveform").residuals(fewer, target, backend)
    assert residuals[-1] == pytest.approx(target.charge[3, -1] / 1000.0)
    assert not residuals[:-1].any()


def counted(target, monkeypatch):
    """The target as one that is repeated, and the losses that have laid it out."""
    made = []
    for kind in {type(get_loss(name)) for name in LOSSES}:
        plain = kind.layout
        monkeypatch.setattr(kind, "layout", lambda self, *a, plain=plain: (made.append(self), plain(self, *a))[1])
    return Repeated(target), made


@pytest.mark.parametrize("name", COMPARING)
def test_a_repeated_target_is_laid_out_once(name, differentiable_backend, monkeypatch):
    backend, loss = backend_of(differentiable_backend), get_loss(name)
    make = waveforms if name == "waveform" else hits
    prediction = make(backend)
    plain = make(backend_of("numpy"), seed=1, shift=1)
    target, made = counted(plain if name == "waveform" else plain.numpy(), monkeypatch)

    def value_and_slope(prediction, target):
        return backend.value_and_grad(
            lambda v: loss.value(prediction._replace(charge=prediction.charge * v["scale"]), target, backend),
            {"scale": 1.1},
        )

    def both(prediction):
        return value_and_slope(prediction, target), value_and_slope(prediction, target.target)

    prediction.event.flags.writeable = False
    for _ in range(3):
        (value, slopes), (known, known_slopes) = both(prediction)
        assert float(value) == float(known) and float(slopes["scale"]) == float(known_slopes["scale"])
    assert len(made) == 1 + 3  # and one for each plain target

    other = prediction._replace(event=prediction.event + 1)  # other identifiers, which may change
    (value, _), (known, _) = both(other)
    assert float(value) == float(known) != 0.0 and len(made) == 4 + 2
    other.event[:] -= 1
    assert float(both(other)[0][0]) == float(both(prediction)[1][0])

    loss = get_loss(name, charge=500.0)  # another loss
    (value, _), (known, _) = both(prediction)
    assert float(value) == float(known)


def test_rows_of():
    held = (np.array([5, 5, 2**33, 7]), np.array([0, 1, 0, 0]))
    wanted = (np.array([7, 5, 2**33, 5, 8]), np.array([0, 1, 1, 0, 0]))
    assert rows_of(wanted, held).tolist() == [3, 1, -1, 0, -1]


def slow_soft_dtw(cost, gamma):
    """Cell by cell."""
    table = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    table[0, 0] = 0.0
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            before = -np.array([table[i, j + 1], table[i + 1, j], table[i, j]]) / gamma
            table[i + 1, j + 1] = cost[i, j] - gamma * (np.log(np.exp(before - before.max()).sum()) + before.max())
    return table[-1, -1]


def test_soft_dtw_cell_by_cell(backend):
    backend = backend_of(backend)
    prediction, target = pair("some not found", backend)
    loss = get_loss("soft_dtw", gamma=0.7)
    known = 0.0
    own = prediction.numpy()
    for event in np.unique(own["event"]):
        a, b = (
            np.stack([t["charge"] / 1000.0, t["tick"] / 3.0], axis=1)
            for t in (own[own["event"] == event], target[target["event"] == event])
        )
        paths = [slow_soft_dtw(((p[:, None] - q) ** 2).sum(-1), 0.7) for p, q in ((a, b), (a, a), (b, b))]
        known += paths[0] - 0.5 * (paths[1] + paths[2])
    assert float(loss.value(prediction, target, backend)) == pytest.approx(known / len(target), rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_options_are_checked(name):
    assert issubclass(LOSSES[name], ResidualLoss) == (name in ("hits", "waveform"))
    options = ", ".join(field.name for field in fields(LOSSES[name])) or "it has none"
    with pytest.raises(ArgumentError, match=f"Argument `chrge` must be an option of the loss {name}: {options}"):
        get_loss(name, chrge=1.0)
    for field in fields(LOSSES[name]):
        with pytest.raises(ArgumentError, match=f"Argument `{field.name}` must be"):
            get_loss(name, **{field.name: -1})


def test_refusals():
    backend = backend_of("numpy")
    with pytest.raises(ArgumentError, match="Argument `loss` must be one of chamfer, hits"):
        get_loss("hit")
    with pytest.raises(ArgumentError, match="Argument `target` must be a structured array of hits"):
        get_loss("hits").value(hits(backend), np.zeros(3), backend)
    with pytest.raises(ArgumentError, match="Argument `target` must be Waveforms"):
        get_loss("waveform").value(waveforms(backend), NO_HITS, backend)
