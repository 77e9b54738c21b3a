"""The likelihood as a probability: of all that can be recorded of a waveform, of many draws, of its derivative."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import chi2

from larndsim.backend import get_backend
from larndsim.detector import Electronics, adc_cell
from larndsim.electronics import digitize
from larndsim.electronics.chip import Cycle
from larndsim.electronics.likelihood import likelihood
from larndsim.electronics.noise import draw
from larndsim.electronics.renewal import Noise, Quadrature, Seen
from tests.electronics.test_electronics import channels, ends, events
from tests.electronics.test_likelihood import EXACT, SLOPES

# eight words, the first from below the threshold on, of 1500 e each; a chip that can make two hits within 20 ticks
FEW = {"v_cm": 288.0, "v_pedestal": 263.0, "v_ref": 336.0, "adc_counts": 8, "max_hits": 2}
SMALL = {"threshold": 6000.0, "hold_ticks": 2, "reset_ticks": 1, "busy_ticks": 2, **FEW}
CHIPS = {name: Electronics(**SMALL, discriminator_noise=d) for name, d in (("sharp", 0.0), ("noisy", 650.0))}
TICKS = 18


def waveform():
    t = np.arange(float(TICKS))
    return 5.5e3 / (1 + np.exp(-(t - 5) / 1.5)) + 5.5e3 / (1 + np.exp(-(t - 13) / 1.2))


def outcomes(e, ticks):
    """All that a chip can record: silence, one hit, two hits. Lists of (tick, word)."""
    hits = [(tick, word) for tick in range(ticks) for word in range(e.adc_counts)]
    wait = e.hold_ticks + e.reset_ticks + e.busy_ticks
    return [[], *([hit] for hit in hits), *([one, two] for one in hits for two in hits if two[0] >= one[0] + wait)]


def probabilities(e, charge, lists, backend="numpy", q=EXACT, cell=adc_cell):
    """The likelihood of each of some lists of (tick, word), of the same waveform."""
    rows, most = len(lists), max(map(len, lists))
    tick, word = np.zeros((2, rows, most), dtype=int)
    for row, hits in enumerate(lists):
        for number, hit in enumerate(hits):
            tick[row, number], word[row, number] = hit
    low, high = cell(word, channels(1, e), e)
    count, until = np.array([len(hits) for hits in lists]), np.full(rows, len(charge))
    seen = Seen(np.broadcast_to(charge, (rows, len(charge))), until, until > 0, count, tick, low, high)
    widths = (e.threshold, e.reset_noise, e.uncorrelated_noise, e.discriminator_noise)
    noise = Noise(*(np.full(rows, width) for width in widths))
    return likelihood(seen, noise, Cycle.of(e), get_backend(backend, dtype="float64"), q)


@cache
def of_all_outcomes(name):
    return probabilities(CHIPS[name], waveform(), outcomes(CHIPS[name], TICKS))


@pytest.mark.parametrize("name", CHIPS)
def test_probabilities_sum_to_one(name):
    p = np.exp(of_all_outcomes(name).value)
    lengths = np.array([len(hits) for hits in outcomes(CHIPS[name], TICKS)])
    assert all(p[lengths == count].sum() > 0.01 for count in range(3))
    assert p.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", CHIPS)
def test_the_score_is_zero_on_average(name):
    """By each tick of the waveform and by all that the electronics have; words end where the next begins."""
    found = of_all_outcomes(name)
    p = np.exp(found.value)
    for each in SLOPES[:5]:
        slope = np.moveaxis(getattr(found, each), 0, -1)
        assert np.all(np.abs((p * slope).sum(axis=-1)) <= 1e-10 * (p * np.abs(slope)).sum(axis=-1)), each
    moved = found.low + found.high  # all charges of words together: as if the pedestal moved
    assert abs((p[:, None] * moved).sum()) < 1e-10 * (p[:, None] * np.abs(moved)).sum()


DRAWS, SEED, LEAST = 100_000, 6, 10.0  # the least that is expected in a bin
WORDS = range(74, 97)  # that come up
DRAWN = {
    "module0": Electronics(),
    "noisy": Electronics(threshold=4500.0, discriminator_noise=650.0, busy_ticks=0, digitisation="floor"),
}


def two_rises():
    t = np.arange(70.0)
    return 7.5e3 / (1 + np.exp(-(t - 14) / 3)) + 9e3 / (1 + np.exp(-(t - 48) / 3))


@cache
def many_draws(name):
    """What the clocked model makes of the same waveform, again and again."""
    e, charge = DRAWN[name], np.broadcast_to(two_rises(), (DRAWS, 70))
    run = get_backend("numpy", dtype="float64").compile(lambda *each: digitize(*each, electronics=e, model="clocked"))
    return run(charge, ends(charge), channels(DRAWS, e), draw(SEED, events(DRAWS), 70, e))


def p_value(seen, expected):
    """Of the counts in bins, and of all other draws: those with what is seldom expected, or with no such hit."""
    often = expected >= LEAST
    assert often.sum() > 50
    seen, expected = (np.append(n[often], DRAWS - n[often].sum()) for n in (seen, expected))
    return chi2.sf(((seen - expected) ** 2 / np.maximum(expected, LEAST)).sum(), len(seen) - 1)


def counted(tick, adc, mask):
    """How many draws have a hit at each tick with each word. Axes: (tick, word)."""
    place = tick.astype(int) * 256 + adc.astype(int)
    return np.bincount(place[mask], minlength=70 * 256).reshape(70, 256)


@cache
def first_hits(name):
    """How often a chip makes no hit, and a first one at each tick with each word. Axes: (tick, word)."""
    lists = [[], *([(tick, word)] for tick in range(70) for word in WORDS)]
    e = replace(DRAWN[name], max_hits=1)
    silent, *others = np.exp(probabilities(e, two_rises(), lists, q=Quadrature()).value)
    return silent, np.reshape(others, (70, len(WORDS)))


@pytest.mark.parametrize("name", DRAWN)
def test_first_hits_of_many_draws(name):
    """Tick and word; and how often there is none."""
    drawn, (silent, p) = many_draws(name), first_hits(name)
    assert silent + p.sum() == pytest.approx(1.0, abs=2e-4)
    quiet = DRAWS - drawn.mask[:, 0].sum()
    assert abs(quiet - DRAWS * silent) < 4.0 * np.sqrt(DRAWS * silent + 1.0)
    assert p_value(counted(drawn.tick[:, 0], drawn.adc[:, 0], drawn.mask[:, 0])[:, WORDS], DRAWS * p) > 1e-3


@pytest.mark.parametrize("name", DRAWN)
def test_second_hits_of_many_draws(name):
    """Tick and word, whenever the first came: the tick of that decides, its word does not matter."""
    drawn, e, any_word = many_draws(name), replace(DRAWN[name], max_hits=2), 85
    wait, often = e.hold_ticks + e.reset_ticks + max(e.busy_ticks, 1), first_hits(name)[1].sum(axis=1)
    starts = np.flatnonzero(often > 1e-6)
    pairs = [(one, two, word) for one in starts for two in range(one + wait, 70) for word in WORDS]
    lists = [[(one, any_word), (two, word)] for one, two, word in pairs]
    both = probabilities(e, two_rises(), lists, q=Quadrature()).value
    alone = probabilities(replace(e, max_hits=1), two_rises(), [[(one, any_word)] for one in starts], q=Quadrature())
    one, two, word = np.array(pairs).T
    expected = np.zeros((70, 256))
    np.add.at(expected, (two, word), DRAWS * often[one] * np.exp(both - alone.value[np.searchsorted(starts, one)]))
    assert p_value(counted(drawn.tick[:, 1], drawn.adc[:, 1], drawn.mask[:, 1]), expected) > 1e-3


NOISES = {name: f"{name}_noise" for name in SLOPES[2:5]}


def fourth_order(function, step):
    """The derivative of a function of k at 0, over the step that k counts."""
    return (8.0 * (function(1) - function(-1)) - (function(2) - function(-2))) / (12.0 * step)


@cache
def differences():
    """How the likelihoods of three outcomes move with each charge, and with each setting of the chip."""
    e, charge = CHIPS["noisy"], waveform()

    def of(setting, step):
        def moved(k):
            return probabilities(replace(e, **{setting: getattr(e, setting) + k * step}), charge, HITS, q=NEAR).value

        return fourth_order(moved, step)

    by_charge = [fourth_order(lambda k, at=at: probabilities(e, charge + k * at, HITS, q=NEAR).value, 1.0)
                 for at in np.eye(TICKS)]  # fmt: skip
    steps = dict.fromkeys(("threshold", *NOISES.values()), 1.0) | {"gain": 1e-7, "v_pedestal": 1e-3}
    return np.stack(by_charge, axis=1), {setting: of(setting, step) for setting, step in steps.items()}


HITS = [[(5, 2)], [(4, 1), (12, 3)], []]
NEAR = EXACT._replace(low=8.0, fail=8.0)  # what is left out makes no steps


def test_slopes_are_differences(backend):
    """By every charge of a waveform and by all settings; by those of the converter through the ends of its words."""
    e, (by_charge, known) = CHIPS["noisy"], differences()
    found = probabilities(e, waveform(), HITS, backend, NEAR)
    np.testing.assert_allclose(found.charge, by_charge, rtol=1e-6, atol=1e-6 * np.abs(by_charge).max())
    own = {"threshold": found.threshold} | {setting: getattr(found, name) for name, setting in NOISES.items()}
    low, high = adc_cell(np.array([[2, 0], [1, 3], [0, 0]]), channels(1, e), e)
    low[2], low[0, 1] = 0.0, 0.0  # there are no such hits
    own["gain"] = -(found.low * low + found.high * high).sum(axis=1) / e.gain
    own["v_pedestal"] = -(found.low + found.high).sum(axis=1) / e.gain
    for setting, slope in known.items():
        np.testing.assert_allclose(own[setting], slope, rtol=1e-6, atol=1e-6 * np.abs(slope).max(), err_msg=setting)
