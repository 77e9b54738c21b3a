"""What is expected of a sample, on a few cm of track."""

from __future__ import annotations

import json

import numpy as np
import pytest

import optimize
from larndsim import ArgumentError
from larndsim.data.segments import concatenate
from optimize.cli import main
from optimize.forecast_plots import draw_forecast
from optimize.forecasts import FORCED, USELESS, problem_at
from optimize.goodness import STREAM
from optimize.methods.fisher import seeds_of
from optimize.settings import make_settings
from optimize.uncertainties import directions
from tests.optimize.conftest import DETECTOR, sample

NAMES = ("Ab", "lifetime", "shift_x")
CHOICES = {"cuts": "none", "link_vdrift_eField": True, "toys": 4}


@pytest.fixture(scope="module")
def small():
    return sample(12.0, 4.0)


@pytest.fixture(scope="module")
def result(small):
    return optimize.forecast(small, NAMES, (1, 4), {"lifetime": "1%", "Ab": 0.002}, **CHOICES)


def test_errors_are_those_of_the_expected_information(small, result):
    problem = problem_at(make_settings({"input": small, "params": NAMES, **CHOICES, **FORCED}))
    objective = problem.objective
    u = objective.scaling.scaled(DETECTOR.parameters._asdict())
    found = objective.informed(u, seeds_of(0, STREAM, 4))
    slope = objective.scaling.slope(u)
    np.testing.assert_allclose(found.each.mean(axis=0), found.matrix)
    np.testing.assert_allclose(result.covariance, np.linalg.inv(found.matrix) * np.outer(slope, slope), rtol=1e-6)
    np.testing.assert_allclose([*result.errors.values()], np.sqrt(np.diag(result.covariance)))
    np.testing.assert_allclose([*result.alone.values()], slope / np.sqrt(np.diag(found.matrix)))
    assert all(result.alone[name] <= result.errors[name] for name in NAMES)
    assert result.values == {name: getattr(DETECTOR.parameters, name) for name in NAMES}
    assert result.cm == pytest.approx(16.0)
    assert result.hits == sum(map(len, objective.targets))


def test_twice_the_sample_has_errors_smaller_by_the_root_of_two(small, result):
    twice = concatenate(small, small._replace(event=small.event + 5000))
    more = optimize.forecast(twice, NAMES, **CHOICES)
    for name in NAMES:
        blur = np.hypot(result.blur[name], more.blur[name])
        assert more.errors[name] * 2**0.5 == pytest.approx(result.errors[name], rel=4 * blur), name
        assert 0 < blur < 0.3


def test_goals(result):
    lifetime, ab = result.goals
    assert (lifetime.name, lifetime.error, ab.error) == ("lifetime", pytest.approx(22.0), 0.002)
    assert lifetime.cm == pytest.approx(result.cm * (result.errors["lifetime"] / 22.0) ** 2)
    assert ab.alone_cm == pytest.approx(result.cm * (result.alone["Ab"] / 0.002) ** 2)
    assert "lifetime to 22 us takes" in result.summary()


def test_the_table_is_markdown(result):
    lines = result.table().splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["parameter", "value", "error", "others known", "16 cm", "64 cm"]
    assert set("".join(cells[1])) == set("-:")
    assert cells[3][:2] == ["lifetime", "2200 us"]
    error = float(cells[3][2]) / 2200.0
    assert [float(cell.removesuffix(" %")) / 100 for cell in cells[3][4:]] == pytest.approx(
        [error, error / 2], rel=0.01
    )
    assert "%" not in lines[4]  # of what is zero


def test_parameters_that_do_the_same_are_named(small):
    """Both make the charge larger by a factor."""
    result = optimize.forecast(small, ("Ab", "MeVToElectrons"), set_target={"Ab": 0.82}, **CHOICES)
    assert result.values["Ab"] == 0.82
    assert result.softest[0][0] > 30
    assert result.softest[0][1] in ("+0.71 Ab -0.71 MeVToElectrons", "-0.71 Ab +0.71 MeVToElectrons")
    assert result.correlation[0, 1] < -0.99
    assert "hardly know" in result.summary()


def test_directions_have_the_softest_first():
    (soft, text), (hard, other) = directions(np.array([[4.0, 1.0], [1.0, 1.0]]), ("a", "b"))
    assert (soft, hard) == (pytest.approx(0.5), pytest.approx(1.5))
    assert text in ("+0.71 a -0.71 b", "-0.71 a +0.71 b")
    assert other == "+0.71 a +0.71 b"
    assert directions(np.diag([1.0, 0.0]), ("a", "b")) == []


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"goal": {"kb": 1.0}}, "`goal` must be of Ab, shift_x, but it is of kb"),
        ({"goal": {"Ab": "much"}}, "`goal` must be an error greater than 0 by name, but Ab has 'much'"),
        ({"goal": {"Ab": "0%"}}, "greater than 0"),
        ({"goal": {"shift_x": "1%"}}, "`goal` must be in the unit of a parameter that is 0"),
        ({"multiples": ()}, "`multiples` must name at least one"),
        ({"multiples": (1, -1)}, "`multiples` must be greater than 0, but one is -1"),
        ({"set_target": {"Ab": 2.0}}, "keep Ab within"),
        *(({name: 1}, f"`{name}` must be left out of a forecast") for name in USELESS),
    ],
)
def test_refusals(small, choices, sentence):
    with pytest.raises(ArgumentError, match=r"must") as error:
        optimize.forecast(small, ("Ab", "shift_x"), **{**CHOICES, **choices})
    assert sentence in str(error.value)


def test_pictures(result):
    pytest.importorskip("matplotlib")
    figures = draw_forecast(result)
    assert set(figures) == {"errors", "correlations"}
    lines = {line.get_label(): line for line in figures["errors"].axes[0].lines}
    np.testing.assert_allclose(lines["lifetime"].get_xdata(), [16.0, 64.0])
    np.testing.assert_allclose(np.ptp(np.log2(lines["lifetime"].get_ydata())), 1.0)
    assert lines["lifetime: goal"].get_ydata() == pytest.approx([1.0])
    assert "shift_x, in cm" in lines


def test_on_the_command_line(segments_file, tmp_path, capsys):
    words = ["forecast", str(segments_file), "--params", "Ab", "eField", "--cuts", "none", "--toys", "2"]
    assert main([*words, "--goal", "Ab=0.5%"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| parameter |")
    assert "Ab to 0.004 takes" in out
    assert "read 2 tracks" in err
    assert main([*words, "--multiples", "1", "50", "--out", str(tmp_path / "a")]) == 0
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"forecast.json", "forecast.md", "errors.png", "correlations.png"}
    found = json.loads((tmp_path / "a" / "forecast.json").read_text())
    assert found["multiples"] == [1, 50]
    ab = found["parameters"]["Ab"]
    assert ab["errors"] == pytest.approx([ab["error"], ab["error"] / 50**0.5])
    assert np.shape(found["correlation"]) == (2, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--goal", "Ab"], "`--goal` must be given as NAME=ERROR, but it is 'Ab'"),
        (["--goal", "Ab=1%", "Ab=2%"], "give each error once"),
        (["--set-target", "kb=0.05"], "kb is none of them"),
        (["--multiples", "nan"], "`multiples` must be a number"),
    ],
)
def test_bad_words_are_one_sentence_and_no_folder(words, sentence, segments_file, tmp_path, capsys):
    start = ["forecast", str(segments_file), "--params", "Ab", "--cuts", "none", "--out", str(tmp_path / "a")]
    assert main([*start, *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_choices(segments_file, tmp_path, capsys):
    config = tmp_path / "forecast.yaml"
    config.write_text(f"input: {segments_file}\nparams: [Ab]\ncuts: none\ntoys: 2\nout: {tmp_path / 'a'}\n")
    assert main(["forecast", "--config", str(config)]) == 0
    assert (tmp_path / "a" / "errors.png").read_bytes().startswith(b"\x89PNG")
    config.write_text("method: fisher\nparams: [Ab]\n")
    assert main(["forecast", str(segments_file), "--config", str(config)]) == 2
    assert "`method` must be left out of a forecast" in capsys.readouterr().err
