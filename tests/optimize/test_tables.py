"""The result of a fit as text."""

from __future__ import annotations

import pytest

from optimize.tables import number, probability, rows, table, with_error


def result(noisy, at_bound=(), **changes):
    """Two parameters, the second of which may be at its limit."""
    Ab = {"init": 0.8, "value": 0.866812, "error": 0.002, "interval": [0.8648, 0.8688], "target": 0.868, "pull": -0.594}
    lifetime = {"init": 2200.0, "value": 5089.414, "error": 520.3, "interval": [4502.0, 5089.414], "target": 4653.2}
    lifetime["pull"] = 0.838
    parameters = {"Ab": Ab, "lifetime": {**lifetime, **changes}}
    return {"parameters": parameters, "noisy": noisy, "at_bound": at_bound}


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.866812, 0.002, "0.8668 ± 0.0020"),
        (5089.414, 520.3, "5089 ± 520"),
        (0.53842953, 2.6e-5, "0.538430 ± 0.000026"),
        (7.1281e-6, 4.7e-7, "(7.13 ± 0.47)e-06"),
        (-0.2, 35.0, "-0 ± 35"),
        (4.2e7, 1.3e6, "(4.20 ± 0.13)e+07"),
        (0.05, None, "0.05"),
        (0.05, float("nan"), "0.05"),
    ],
)
def test_value_and_error_to_two_digits_of_the_error(value, error, text):
    assert with_error(value, error) == text


def test_numbers_that_are_not_known_are_empty():
    assert number(None) == number(float("nan")) == ""
    assert number(4653.2295) == "4653.23"


def test_pulls_with_noise_percents_without():
    assert rows(result(True))[0] == ["parameter", "unit", "initial", "fitted", "truth", "pull"]
    assert rows(result(True))[1] == ["Ab", "", "0.8", "0.8668 ± 0.0020", "0.868", "-0.59"]
    assert rows(result(False))[0][-1] == "off by"
    assert rows(result(False))[1][-1] == "0.1369 %"


def test_the_interval_is_shown_where_it_has_one_side():
    head, Ab, lifetime = rows(result(True, ("lifetime",)))
    assert head[4] == "68 % interval"
    assert (Ab[4], lifetime[4]) == ("", "4502 .. 5089.4")
    unknown = rows(result(True, ("lifetime",), interval=[None, None]))
    assert "68 % interval" not in unknown[0]


def test_data_have_no_truth():
    found = result(True)
    for values in found["parameters"].values():
        del values["target"], values["pull"]
    assert rows(found)[0] == ["parameter", "unit", "initial", "fitted"]


def test_columns_are_in_line():
    lines = table(result(True)).splitlines()
    assert len({line.index(end) + len(end) for line, end in zip(lines, ("fitted", "0.0020", "520"), strict=True)}) == 1


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.314, "p = 0.31"),
        (2e-5, "p = 2e-05"),
        (0.0, "p < 1e-06"),
        (0.9966, "p = 1 - 0.003"),
        (1.0, "p > 1 - 1e-06"),
    ],
)
def test_p_values_tell_both_tails(p, text):
    assert probability(p) == text
