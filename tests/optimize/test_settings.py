"""Every choice of a fit does something, or is refused."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pytest
import yaml

import larndsim
from larndsim import ArgumentError
from larndsim.data.waveforms import Waveforms
from larndsim.io import HitsWriter, PacketsWriter
from optimize.cli.choices import add_choices, choices_of
from optimize.cuts import OPEN
from optimize.problem import make_problem
from optimize.records import Folder
from optimize.settings import KEYS, Settings, make_settings
from tests.optimize.conftest import DETECTOR

BASE = {"params": ("Ab", "lifetime"), "cuts": "none", "method": "lbfgs"}
GRADIENT = {"method": "gradient"}
ORDER = [np.random.default_rng(seed).permutation(2)[0] for seed in range(20)]
FLIP = ORDER.index(1 - ORDER[0])  # a seed with another order of two tracks
RUN = ("iterations", "errors", "toys", "save_freq")  # what a run does, beyond its problem: see `test_how_a_run_goes`

# For each choice another value, and what has to be chosen with it for it to be allowed.
OTHERS = {
    "params": (("Ab",), {}),
    "input_target": ("brighter.h5", {}),
    "data": ("hits.h5", {"loss": "hits"}),
    "data_events": ("triggers", {"data": "packets.h5"}),
    "data_time": ("zero", {"data": "packets.h5"}),
    "events": ((0,), {}),
    "swap_xz": (False, {}),
    "cuts": ({**OPEN, "track_length": 5.0}, {}),
    "max_batch_len": (5.0, {}),
    "batch_tracks": (1, {}),
    "max_batches": (1, {"batch_tracks": 1}),
    "seed_data": (FLIP, {"batch_tracks": 1}),
    "set_target": ({"Ab": 0.81}, {}),
    "shift_no_fit": (("kb",), {}),
    "noise": (True, {}),
    "seed": (5, {}),
    "set_init": ({"Ab": 0.81}, {}),
    "vary_init": (True, {}),
    "seed_init": (3, {"vary_init": True}),
    "constraints": ({"Ab": 0.01}, {"noise": True}),
    "loss": ("chamfer", {}),
    "loss_options": ({"charge": 500.0}, {}),
    "method": ("gradient", {}),
    "mode": ("forward", {}),
    "tolerance": (1e-3, {}),
    "optimizer": ("sgd", GRADIENT),
    "lr": (0.5, GRADIENT),
    "schedule": ("cosine", GRADIENT),
    "clip": (0.1, GRADIENT),
    "batches_per_step": (1, {**GRADIENT, "batch_tracks": 1}),
    "detector": ("thresholds.yaml", {}),
    "layout": ("layout.yaml", {"detector": "thresholds.yaml"}),
    "thresholds": ("low.npz", {}),
    "gains": ("map.npz", {}),
    "pedestals": ("map.npz", {}),
    "references": ("references.json", {"fill_channels": True, "pedestals": "map.npz"}),
    "bad_channels": ("bad.json", {}),
    "unique_id": ("io_channel", {"references": "references.json", "fill_channels": True}),
    "fill_channels": (True, {"thresholds": "some.npz"}),
    "electronics": ("clocked", {}),
    "recombination": ("box", {"params": ("lifetime",)}),
    "link_vdrift_eField": (True, {}),
    "accuracy": (1e-2, {}),
    "memory": ("1MB", GRADIENT),
    "backend": ("jax", {}),
    "device": ("cuda:77", {}),
    "dtype": ("float64", {}),
}
REFUSED = {"electronics", "device", "layout"}  # these values: not differentiable, not there, not a layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, segments):
    """The files that the choices name."""
    path = tmp_path_factory.mktemp("choices")
    larndsim.write_segments(path / "segments.h5", segments)
    larndsim.write_segments(path / "brighter.h5", segments._replace(dE=1.1 * segments.dE))
    hits = larndsim.Simulator(DETECTOR)(segments).numpy()
    with HitsWriter(path / "hits.h5") as writer:
        writer.append(hits)
    pytest.importorskip("larpix", reason="larpix-control is not installed")
    with PacketsWriter(path / "packets.h5", DETECTOR) as writer:
        for event in np.unique(hits["event"]):
            own = hits[hits["event"] == event]
            own["tick"] += 500  # on a clock of its own
            writer.append(own, start=50.0)
    np.savez(path / "low.npz", keys=[0], values=[5000.0], default=5000.0)
    np.savez(path / "map.npz", keys=[0], values=[1e-3], default=1e-3)
    np.savez(path / "some.npz", keys=[0], values=[5000.0])
    (path / "references.json").write_text('{"100204005": {"vref_mv": 1400, "vcm_mv": 300}}')  # in either variant
    (path / "bad.json").write_text('{"All": [0, 1, 2, 3]}')
    (path / "thresholds.yaml").write_text("DISCRIMINATION_THRESHOLD: 5000\n")
    (path / "layout.yaml").write_text("pixel_pitch: no\n")
    return path


def fingerprint(choices):
    """Everything that decides a fit."""
    problem = make_problem(make_settings(choices))
    o = problem.objective
    targets = [t.charge.tobytes() if isinstance(t, Waveforms) else t.tobytes() for t in o.targets]
    pixels = [batch.all_pixels().ix.tobytes() for batch in o.batches]
    sim = o.simulator
    setup = (sim.backend.name, sim.backend.dtype, sim.recombination, sim.link_vdrift_eField, sim.detector.electronics)
    setup += tuple(np.ascontiguousarray(column).tobytes() for column in sim.channels)
    method = {k: np.asarray(v).tolist() for k, v in vars(problem.method).items()}
    return repr(
        (
            targets,
            pixels,
            setup,
            type(problem.method),
            method,
            o.mode,
            o.loss,
            o.constraints,
            problem.init,
            problem.target,
        )
    )


def test_the_table_is_complete():
    assert {*OTHERS, *RUN, "input"} == set(KEYS)


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "backend"])
def test_every_choice_does_something_or_is_refused(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    value, needed = OTHERS[name]
    base = {**BASE, "input": "segments.h5", **needed}
    if name == "fill_channels":  # without it, the file is refused
        with pytest.raises(ArgumentError, match="must name all pixels or hold a `default`"):
            fingerprint(base)
        assert fingerprint({**base, name: value}) != fingerprint({**BASE, "input": "segments.h5"})
    elif name in REFUSED:
        with pytest.raises(ArgumentError):
            fingerprint({**base, name: value})
    else:
        assert fingerprint({**base, name: value}) != fingerprint(base)


def test_the_backend(folder):
    pytest.importorskip("jax")
    settings = make_settings({**BASE, "input": folder / "segments.h5", "backend": "jax"})
    from optimize.problem import make_simulator

    assert make_simulator(settings).backend.name == "jax"


def test_how_a_run_goes(segments, tmp_path, monkeypatch):
    import optimize

    saves = []
    honest = Folder.save
    monkeypatch.setattr(Folder, "save", lambda *args: (saves.append(args[1].iteration), honest(*args)))
    choices = {**BASE, "loss": "waveform", "set_target": {"Ab": 0.85}}
    result = optimize.fit(segments, out=tmp_path / "a", **{**choices, "iterations": 5, "save_freq": 2, "errors": False})
    assert (result.iterations, result.status) == (5, "max_iterations")
    assert saves == [0, 2, 4, 5]
    assert np.isnan(result.covariance).all()


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"colour": 1}, "`colour` must be a choice of a fit, but it is not"),
        ({"batch_track": 1}, "Did you mean `batch_tracks`?"),
        ({"params": ()}, "name at least one parameter"),
        ({"params": ("Abb",)}, "Did you mean `Ab`?"),
        ({"params": ("Ab", "Ab")}, "name each parameter once"),
        ({"params": ("vdrift",), "link_vdrift_eField": True}, "vdrift has none with birks and vdrift linked"),
        ({"params": ("alpha",)}, "alpha has none with birks"),
        ({"params": ("temperature",)}, "temperature has none"),
        ({"params": ("Ab",), "recombination": "box"}, "Ab has none with box"),
        ({"set_target": {"kb": 0.05}}, "Name it in `shift_no_fit` to shift it"),
        ({"set_target": {"Ab": 3.0}}, "keep Ab within"),
        ({"set_init": {"Ab": 3.0}}, "keep Ab within"),
        ({"set_init": {"kb": 0.05}}, "Name it in `params` to fit it"),
        ({"set_init": {"Ab": "much"}}, "`set_init.Ab` must be a number"),
        ({"shift_no_fit": ("Ab",)}, "Ab is among `params`"),
        ({"seed_init": 3}, "be left out without `vary_init`"),
        ({"seed": -1}, "`seed` must be 0 or more"),
        ({"iterations": 0}, "`iterations` must be greater than 0"),
        ({"iterations": 1.5}, "`iterations` must be a whole number"),
        ({"noise": "yes"}, "`noise` must be true or false"),
        ({"method": "newton"}, "`method` must be one of fisher, gauss-newton, gradient, lbfgs, minuit"),
        ({"method": "gauss-newton", "loss": "chamfer"}, "be one of hits, waveform with method gauss-newton"),
        ({"method": "fisher"}, "`loss` must be another one where the target has no noise"),
        ({"method": "fisher", "loss": "hits", "noise": True}, "`loss` must be likelihood with method fisher"),
        ({"method": "gauss-newton", "loss": "likelihood", "noise": True}, "be one of hits, waveform with method"),
        ({"loss": "likelihood"}, "be another one where the target has no noise"),
        ({"method": "gauss-newton", "mode": "checkpointed"}, "`mode` must be one of forward"),
        ({"optimizer": "adam"}, "`optimizer` must be left out with method lbfgs"),
        ({"lr": 0.1}, "`lr` must be left out with method lbfgs"),
        ({"method": "gradient", "lr": -1.0}, "`lr` must be greater than 0"),
        ({"method": "gradient", "lr": {"Ab": 0.0}}, "`Ab` must have a learning rate greater than 0"),
        ({"method": "gradient", "schedule": "stairs"}, "`schedule` must be one of"),
        ({"loss": "waveform", "noise": True}, "be left out with loss waveform"),
        ({"loss": "waveform", "electronics": "relaxed"}, "be left out with loss waveform"),
        ({"loss": "hits", "loss_options": {"colour": 1}}, "be an option of the loss hits"),
        ({"data": "hits.h5", "set_target": {"Ab": 0.8}}, "`set_target` must be left out with `data`"),
        ({"data": "hits.h5", "noise": True}, "`noise` must be left out with `data`"),
        ({"data": "hits.h5", "cuts": {"z_inner": 15.0}}, "`cuts` must leave tracks whole with `data`, but z_inner=15"),
        ({"constraints": {"kb": 0.1}}, "Name it in `params` to fit it"),
        ({"noise": True, "constraints": {"Ab": 0.0}}, "`constraints.Ab` must be a width greater than 0"),
        ({"constraints": {"Ab": 0.1}}, "`loss` must be likelihood where there are constraints"),
        ({"params": ("gain",)}, "`loss` must be likelihood where params name gain"),
        ({"data_events": "triggers"}, "`data_events` must come with `data`, but there is none"),
        ({"data_time": "clock"}, "`data_time` must come with `data`"),
        ({"data": "hits.h5", "data_time": "noon"}, "`data_time` must be one of clock, deposit, zero"),
        ({"data": "hits.h5", "data_events": "all"}, "`data_events` must be one of associations, triggers"),
        ({"thresholds": "no.npz"}, "must be an npz file"),
        ({"gains": np.ones(3)}, "`gains` must have the shape (2, 140, 280)"),
        ({"fill_channels": True}, "`fill_channels` must be left out without files of channels"),
        ({"unique_id": "tile"}, "`unique_id` must come with a JSON file"),
        ({"cuts": {"z_inne": 3.0}}, "Did you mean `z_inner`?"),
        ({"backend": "numpy"}, "`backend` must be one of jax, torch"),
        ({"method": "gradient", "optimizer": "adma"}, "`optimizer` must be one of"),
        ({"method": "gradient", "optimizer": "lbfgs"}, "step on a vector by its gradient"),
    ],
)
def test_refusals(choices, sentence, segments):
    with pytest.raises(ArgumentError) as error:
        problem = make_problem(make_settings({**BASE, "input": segments, **choices}))
        problem.method.init(problem.objective, problem.objective.scaling.scaled(problem.init))
    assert sentence in str(error.value)


ODD = (
    3,
    -1,
    0.5,
    float("nan"),
    "word",
    "",
    [],
    [1],
    ["Ab", "Ab"],
    [["Ab"]],
    {},
    {"a": 1},
    {"Ab": "x"},
    {1: 2},
    True,
    b"x",
)


@pytest.mark.parametrize("method", ["lbfgs", "gradient"])
@pytest.mark.parametrize("name", KEYS)
def test_a_value_of_the_wrong_kind_is_refused_in_a_sentence(name, method):
    """A configuration file may hold anything; what is not refused is of the kind that the choice promises."""
    refused = 0
    for value in ODD:
        try:
            settings = make_settings({**BASE, "method": method, "input": "a.h5", name: value})
        except ArgumentError as error:
            assert str(error).startswith("Argument `")
            refused += 1
        else:
            assert make_settings(yaml.safe_load(yaml.safe_dump(settings.plain()))) == settings
    assert refused > len(ODD) // 2


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"cuts": 3}, "`cuts` must be numbers by name, but it is 3"),
        ({"set_target": ["Ab"]}, "`set_target` must be numbers by name, but it is ['Ab']"),
        ({"loss_options": "charge"}, "`loss_options` must be values by name"),
        ({"params": 3}, "`params` must be names of parameters, but it is 3"),
        ({"events": ["all"]}, "`events` must be whole numbers"),
        ({"device": 0}, "`device` must be a word, but it is 0"),
        ({"layout": 3}, "`layout` must be names of files"),
        ({"references": np.ones(3)}, "`references` must be the name of a file"),
        ({"pedestals": 3}, "`pedestals` must be the name of a file"),
        ({"data": []}, "`data` must be the name of a file"),
        ({"params": "no.yaml"}, "`params` must be a file that can be read, but no.yaml: No such file"),
    ],
)
def test_kinds(choices, sentence):
    with pytest.raises(ArgumentError) as error:
        make_settings({**BASE, "input": "a.h5", **choices})
    assert sentence in str(error.value)


def test_an_empty_line_of_a_file_leaves_the_default():
    known = make_settings({**BASE, "input": "a.h5"})
    assert make_settings({**BASE, "input": "a.h5", "set_target": None, "seed": None, "shift_no_fit": None}) == known
    assert make_settings({**BASE, "input": "a.h5", "params": "Ab", "events": 3}).events == (3,)


def test_parameters_with_learning_rates(tmp_path, segments):
    path = tmp_path / "rates.yaml"
    path.write_text("Ab: 0.03\nlifetime: 0.1\n")
    for params in ([str(path)], {"Ab": 0.03, "lifetime": 0.1}):
        settings = make_settings({"input": segments, "params": params, "method": "gradient"})
        assert settings.params == ("Ab", "lifetime")
        assert settings.lr == {"Ab": 0.03, "lifetime": 0.1}
    with pytest.raises(ArgumentError, match="be given once"):
        make_settings({"input": segments, "params": {"Ab": 0.1}, "lr": 0.2, "method": "gradient"})


def test_settings_survive_yaml(folder):
    settings = make_settings({**BASE, "input": folder / "segments.h5", "set_target": {"Ab": 0.81}, "events": [0, 1]})
    assert make_settings(yaml.safe_load(yaml.safe_dump(settings.plain()))) == settings
    assert replace(settings, seed=3).seed == 3


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_choices(parser)
    return choices_of(parser.parse_args(words))


def test_every_choice_is_a_flag():
    words = {
        bool: lambda v: [],
        "names": lambda v: list(v),
        "numbers": lambda v: [str(x) for x in v],
        "values": lambda v: [f"{a}={b}" for a, b in v.items()],
        "options": lambda v: [f"{a}={b}" for a, b in v.items()],
    }
    for name, (value, _) in OTHERS.items():
        kind = KEYS[name].metadata["kind"]
        flag = f"--{name.replace('_', '-')}" if value is not False else f"--no-{name.replace('_', '-')}"
        found = parsed(flag, *words.get(kind, lambda v: [str(v)])(value))
        expected = list(value) if kind == "names" else value
        assert found == {name: expected}, name
    assert parsed("--max_batch_len", "3") == {"max_batch_len": 3.0}
    assert parsed("--cuts", "none") == {"cuts": OPEN}
    assert parsed("--cuts", "none", "z_inner=1")["cuts"] == {**OPEN, "z_inner": 1}


def test_flags_override_the_file(tmp_path):
    path = tmp_path / "fit.yaml"
    path.write_text("seed: 3\nsave-freq: 7\nparams: [Ab]\n")
    assert parsed("--config", str(path), "--seed", "4") == {"seed": 4, "save_freq": 7, "params": ["Ab"]}


def test_defaults_hold_together():
    assert Settings(input="a.h5", params=("Ab",)).most_iterations == 100
    assert Settings(input="a.h5", params=("Ab",), method="gradient").most_iterations == 500
