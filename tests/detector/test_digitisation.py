"""ADC words and the charges that they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larndsim.detector import Electronics, adc_cell, channel_maps, charge_of, load_detector
from larndsim.detector.digitisation import check_words
from larndsim.electronics import Channel
from larndsim.errors import ArgumentError
from tests.reference import electronics as twin

MODULE0 = Electronics()


def channel_of(e):
    return Channel(e.threshold, e.gain, e.v_pedestal, e.v_cm, e.v_ref, 1.0)


@given(
    charge=st.floats(-5e5, 5e5),
    gain=st.floats(2e-3, 6e-3),
    pedestal=st.floats(-100.0, 900.0),
    counts=st.sampled_from([2, 256, 1024]),
    digitisation=st.sampled_from(["round", "floor"]),
)
def test_a_charge_lies_in_the_cell_of_its_word(charge, gain, pedestal, counts, digitisation):
    e = replace(MODULE0, gain=gain, adc_counts=counts, digitisation=digitisation)
    object.__setattr__(e, "v_pedestal", pedestal)  # of a channel it may be negative
    word = twin.adc(charge, e)
    low, high = adc_cell(word, channel_of(e), e)
    slack = 1e-6
    assert low - slack <= charge <= high + slack
    if 0 < word < counts - 1:
        assert charge_of(word, channel_of(e), e) == pytest.approx((low + high) / 2)


@pytest.mark.parametrize("digitisation", ["round", "floor"])
def test_cells_cover_all_charges_once(digitisation):
    e = replace(MODULE0, digitisation=digitisation)
    low, high = adc_cell(np.arange(256), channel_of(e), e)
    assert (low[0], high[-1]) == (-np.inf, np.inf)
    np.testing.assert_allclose(low[1:], high[:-1], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(np.diff(high[:-1]), 1012 / 256 / 4e-3)  # 988 e
    for word in (1, 100, 255):
        assert twin.adc(low[word] + 1e-3, e) == word
        assert twin.adc(low[word] - 1e-3, e) == word - 1


def test_the_middle_of_a_cell():
    assert charge_of(73, channel_of(MODULE0), MODULE0) == pytest.approx((73 * 1012 / 256 - 292) / 4e-3)
    below = replace(MODULE0, digitisation="floor")
    assert charge_of(73, channel_of(below), below) == pytest.approx((73.5 * 1012 / 256 - 292) / 4e-3)


def test_channels_of_their_own():
    detector = load_detector()
    pedestals = np.full(detector.geometry.shape, 580.0)
    pedestals[1, 2, 3] = 600.0
    maps = channel_maps(detector, pedestals=pedestals)
    own = Channel(*(column[[0, 1], [0, 2], [0, 3]] for column in maps))
    charges = charge_of([100, 100], own, detector.electronics)
    assert charges[0] - charges[1] == pytest.approx(20.0 / 4e-3)
    (low, high), shape = adc_cell(np.full((2, 5), 100), Channel(*(column[:, None] for column in own)), MODULE0), (2, 5)
    assert low.shape == high.shape == shape


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([3, 256], "must hold whole ADC values from 0 to 255, but 1 are not, the first of them 256"),
        ([-1], "the first of them -1"),
        ([3.5], "the first of them 3.5"),
        ([np.nan], "the first of them nan"),
    ],
)
def test_no_words_of_this_adc(words, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        adc_cell(words, channel_of(MODULE0), MODULE0)
    if words == [3.5]:
        check_words("adc", words, MODULE0, whole=False)
