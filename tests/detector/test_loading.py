"""Detector files of both dialects, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from larndsim.detector import Electronics, Parameters, drift_velocity, load_detector
from larndsim.errors import ArgumentError
from tests.samples import present

FOUR_MODULES = "tpc_offsets: [[33.5, 0, 33.5], [33.5, 0, -33.5], [-33.5, 0, 33.5], [-33.5, 0, -33.5]]\n"


# Of the small module and of module 0: pixels of a plane along x and y, of each layout.
PIXELS = {
    "small_layout-2.2.16.yaml": (28, 28),
    "small_layout-2.4.16.yaml": (28, 28),
    "small_layout-2.4.16_v4.yaml": (28, 28),
    "small_layout-2.5.16.yaml": (32, 32),
    "multi_tile_layout-2.2.16.yaml": (140, 280),
    "multi_tile_layout-2.4.16.yaml": (140, 280),
    "multi_tile_layout-2.4.16_v4.yaml": (140, 280),
    "multi_tile_layout-2.5.16.yaml": (160, 320),
}


@pytest.mark.parametrize(
    ("source", "layout"),
    [("small_predecessor.yaml", None), ("module0_predecessor.yaml", "multi_tile_layout-2.2.16.yaml")],
)
def test_predecessor_equals_builtin(sample_file, source, layout):
    ours, theirs = load_detector(), load_detector(sample_file(source), layout and sample_file(layout))
    for name, column in theirs.geometry._asdict().items():
        np.testing.assert_allclose(column, getattr(ours.geometry, name), rtol=0, atol=1e-9, err_msg=name)
    assert theirs.parameters == ours.parameters
    assert theirs.electronics == ours.electronics
    assert theirs.vdrift_static == 0.1587


@pytest.mark.parametrize("source", ["small_jax.yaml", "module0_jax.yaml"])
def test_jax_dialect(sample_file, source):
    detector = load_detector(str(sample_file(source)))
    assert detector.electronics == Electronics(threshold=5000.0, v_cm=284.27734375, v_ref=1282.71484375)
    np.testing.assert_allclose([detector.geometry.y_low, detector.geometry.y_high], [[-62.039] * 2, [62.039] * 2])


@pytest.mark.parametrize("source", ["small_dune.yaml", "module0_dune.yaml"])
def test_dune_dialect(sample_file, source):
    detector = load_detector(sample_file(source))
    assert detector.parameters == Parameters(lifetime=2600.0, vdrift=drift_velocity(0.5, 87.17))
    np.testing.assert_allclose(detector.geometry.y_low, -83.8626)


@pytest.mark.parametrize("dialect", ["predecessor", "jax", "dune"])
@pytest.mark.parametrize("layout", PIXELS)
def test_one_module_with_each_layout(sample_file, dialect, layout):
    source = sample_file(f"{'small' if layout.startswith('small') else 'module0'}_{dialect}.yaml")
    g = load_detector(source, sample_file(layout)).geometry
    assert g.shape == (2, *PIXELS[layout])
    np.testing.assert_allclose(g.pitch, 0.387975 if "2.5.16" in layout else 0.4434)
    np.testing.assert_array_equal(g.direction, np.sign(g.anode_z - g.cathode_z))
    assert (np.sign(g.anode_z) == g.direction).all()
    np.testing.assert_allclose(np.abs(g.cathode_z), 0.15875)
    assert np.abs(g.x_high - g.x_low - g.n_x * g.pitch).max() < 0.01
    assert np.abs(g.y_high - g.y_low - g.n_y * g.pitch).max() < 0.1
    assert load_detector(source, [sample_file(layout)]).geometry.shape == g.shape


@pytest.mark.parametrize(
    ("source", "layout"),
    [
        ("small_dune.yaml", "small_layout-2.4.16_v4.yaml"),
        ("module0_dune.yaml", "multi_tile_layout-2.4.16_v4.yaml"),
    ],
)
def test_anode_decides_the_direction(sample_file, source, layout, caplog):
    """In this layout the first TPC is the upper one, and the layout knows its own drift length."""
    g = load_detector(sample_file(source), sample_file(layout)).geometry
    assert g.direction.tolist() == [1.0, -1.0]
    np.testing.assert_allclose(g.anode_z, [30.58975, -30.58975])
    np.testing.assert_allclose(g.drift_length, 30.431)
    assert "the layout's is used" in caplog.text


@pytest.mark.parametrize(
    ("source", "layout"),
    [("small_2x2.yaml", "small_layout-{}.yaml"), ("2x2_dune.yaml", "multi_tile_layout-{}.yaml")],
)
def test_2x2_with_one_layout_per_module(sample_file, source, layout):
    (coarse, n), (fine, n_fine) = ((name, PIXELS[name][0]) for name in map(layout.format, ("2.4.16", "2.5.16")))
    files = [sample_file(name) for name in (coarse, coarse, fine, coarse)]
    detector = load_detector(sample_file(source), files)
    g = detector.geometry
    assert g.module.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_allclose(g.pitch, [0.4434] * 4 + [0.387975] * 2 + [0.4434] * 2)
    assert g.n_x.tolist() == [n] * 4 + [n_fine] * 2 + [n] * 2
    assert detector.electronics == Electronics(
        threshold=5000.0, v_cm=478.1, v_ref=1568.0, gain=4.522e-3, discriminator_noise=650.0, digitisation="floor"
    )
    # Offsets are (drift, y, x): the first module lies at z = 33.5 and x = 33.5, the second at x = -33.5.
    np.testing.assert_allclose(g.anode_z[:4], [33.5 - 30.431, 33.5 + 30.431] * 2)
    np.testing.assert_allclose((g.x_low + g.x_high) / 2, np.repeat([33.5, -33.5, 33.5, -33.5], 2))
    np.testing.assert_allclose((g.anode_z[::2] + g.anode_z[1::2]) / 2, [33.5, 33.5, -33.5, -33.5])
    assert json.loads(json.dumps(detector.describe()))["geometry"]["module"][-1] == 3
    r = detector.readout
    assert [np.unique(plane[plane >= 0]).tolist() for plane in r.io_group] == [[group] for group in range(1, 9)]
    assert (r.chip[:4, n:] == -1).all()
    assert (r.chip[4] >= 0).all()


@pytest.mark.parametrize(
    ("source", "layout", "shape", "z", "half", "y"),
    [
        # The tiles' y centres run from -2.1 to 1.7, and from -138.8 to 134.8: not symmetric.
        ("small_ndlar.yaml", "small_layout-3.0.40.yaml", (12, 32, 20), -100, 6.08, (-4.0, 3.6)),
        ("ndlar-module_dune.yaml", "multi_tile_layout-3.0.40.yaml", (70, 256, 800), -300, 48.64, (-154.0, 150.0)),
    ],
)
def test_ndlar(sample_file, source, layout, shape, z, half, y):
    g = load_detector(sample_file(source), sample_file(layout)).geometry
    assert g.shape == shape
    np.testing.assert_allclose(g.anode_z[:2], [z - 50.4, z + 50.4])
    np.testing.assert_allclose([g.x_low[0], g.x_high[0]], [465.7559 - half, 465.7559 + half])
    np.testing.assert_allclose([g.y_low[0], g.y_high[0]], [-60.929 + y[0], -60.929 + y[1]])
    np.testing.assert_allclose(g.x_high - g.x_low, g.n_x * g.pitch)
    np.testing.assert_allclose(g.y_high - g.y_low, g.n_y * g.pitch)


def test_a_file_may_say_little(write):
    detector = load_detector(write("lifetime: 3.0e3\n"))
    assert detector.name == "mine"
    assert detector.parameters == Parameters(lifetime=3000.0)
    np.testing.assert_allclose(detector.geometry.x_low, -31.039)
    np.testing.assert_allclose(detector.geometry.drift_length, 30.431)


def test_values_per_module(write):
    text = "e_field: [0.50, 0.51, 0.49, 0.52]\nlifetime: [2.2e3]\nkb: [0.05, 0.05, 0.05, 5.0e-2]\n"
    text += "discrimination_threshold: ['5.0e3', 5000, 6000, 7000]\ndrift_length: [30, 30, 30, 29]\n"
    detector = load_detector(write(FOUR_MODULES + text))
    p = detector.parameters
    np.testing.assert_array_equal(p.eField, [0.5, 0.51, 0.49, 0.52])
    np.testing.assert_allclose(p.vdrift, [drift_velocity(field, 87.17) for field in p.eField])
    assert (p.lifetime, p.kb) == (2200.0, 0.05)
    assert type(p.lifetime) is type(p.kb) is float
    np.testing.assert_array_equal(detector.electronics.threshold, [5000, 5000, 6000, 7000])
    np.testing.assert_allclose(detector.geometry.drift_length, [30] * 6 + [29] * 2)
    assert json.loads(json.dumps(detector.describe()))["parameters"]["eField"] == [0.5, 0.51, 0.49, 0.52]


def test_electronics_keys_of_both_dialects(write):
    dune = "adc_hold_delay: 10\nreset_cycles: 2\nadc_busy_delay: 8\nclock_cycle: 0.2\nlarpix_gain: 4.5e-3\n"
    theirs = "ADC_HOLD_DELAY: 10\nRESET_CYCLES: 2\nADC_BUSY_DELAY: 8\nCLOCK_CYCLE: 0.2\nGAIN: 4.5e-3\n"
    expected = Electronics(hold_ticks=13, reset_ticks=2, busy_ticks=8, clock=0.2, gain=4.5e-3)
    for text in (dune, theirs):
        electronics = load_detector(write(text)).electronics
        assert electronics == expected
        assert type(electronics.hold_ticks) is type(electronics.reset_ticks) is int


def test_discriminator_noise_of_the_newer_electronics(write):
    """DUNE's files do not say it, but mean it."""
    assert load_detector(write("eField: 0.5\n")).electronics.discriminator_noise == 0.0
    assert load_detector(write("e_field: 0.5\n")).electronics.discriminator_noise == 650.0
    assert load_detector(write("e_field: 0.5\ndiscriminator_noise: 0\n")).electronics.discriminator_noise == 0.0


def test_digitisation(write):
    """DUNE's files mean the word below, where they do not say otherwise; the predecessor's mean the nearest."""
    for text, expected in {
        "eField: 0.5\n": "round",
        "e_field: 0.5\n": "floor",
        "tpc_offsets: [[0, 0, 0]]\n": "floor",
        "e_field: 0.5\ndigitisation: round\n": "round",
        "DIGITISATION: floor\n": "floor",
    }.items():
        assert load_detector(write(text)).electronics.digitisation == expected
    with pytest.raises(ArgumentError, match="Argument `digitisation` must be one of floor, round, but it is 'down'"):
        Electronics(digitisation="down")


def test_electronics_per_pixel():
    electronics = Electronics(threshold=np.array([5000.0, 6000.0]), reset_noise=800.0).per_pixel(np.array([1, 0, 1]))
    assert electronics.threshold.tolist() == [6000.0, 5000.0, 6000.0]
    assert electronics.reset_noise == 800.0


def test_unknown_keys_are_reported_once(write):
    path = write("lifetme: 2000\ntemperature: 88\nfoo: 1\n42: 1\ntau_s: 0.001\n")
    with pytest.warns(UserWarning) as caught:
        load_detector(path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    sentence = str(caught[0].message)
    assert str(path) in sentence
    assert "`lifetme` (did you mean `lifetime`?)" in sentence
    assert sentence.count("`foo`") == sentence.count("`42`") == 1
    assert "tau_s" not in sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lifetime: -5", "Argument `lifetime` must be positive, but it is -5.0 in .*mine.yaml. Correct"),
        ("e_field: 0", "Argument `e_field` must be positive"),
        ("vdrift: -0.16", "Argument `vdrift` must be positive"),
        ("lifetime: fast", "Argument `lifetime` must be a number, but it is 'fast'"),
        ("lifetime: .nan", "Argument `lifetime` must be a number"),
        ("lifetime:", "Argument `lifetime` must be a number, but it is None"),
        ("lifetime: true", "Argument `lifetime` must be a number, but it is True"),
        ("lifetime: [1, 2, 3]", r"Argument `lifetime` must be one value, or one per module \(1\), but it lists 3"),
        ("lifetime: []", "Argument `lifetime` must be one value"),
        ("lifetime: [[1]]", "Argument `lifetime` must be a number"),
        ("DISCRIMINATION_THRESHOLD: -1", "Argument `DISCRIMINATION_THRESHOLD` must be positive"),
        ("V_CM: 2000", "Argument `v_ref` must be above `v_cm`"),
        ("adc_hold_delay: 1.5", "Argument `adc_hold_delay` must be a whole number, but it is 1.5"),
        (FOUR_MODULES + "adc_counts: [256, 256, 256, 1024]", "Argument `adc_counts` must be the same for all modules"),
        ("digitisation: up", "Argument `digitisation` must be one of round, floor, but it is 'up' in .*mine.yaml"),
        ("digitisation: [round, floor]", "Argument `digitisation` must be one of round, floor"),
        ("e_field: 0.5\neField: 0.5", "Argument `eField` must be given without `e_field`"),
        ("time_interval: 200", r"Argument `time_interval` must be \[start, end\]"),
        ("time_interval: [200, 0]", "Argument `time_interval` must end after it starts"),
        ("tpc_offsets: [[0, 0]]", r"Argument `tpc_offsets` must list positions \[drift, y, x\]"),
        ("tpc_offsets: []", "Argument `tpc_offsets` must list positions"),
        ("tpc_centers: [[0, 0, 0]]", r"Argument `tpc_centers` must list one position per TPC \(2\)"),
        (FOUR_MODULES + "tpc_centers: [[0, 0, 0]]", "Argument `tpc_offsets` must be given without `tpc_centers`"),
        (
            "tpc_offsets: [[1e9, 0, 0]]",
            r"`tpc_offsets` must lie within -1e\+06 and 1e\+06 cm, but it is 1e\+09 in .*yaml",
        ),
        ("tpc_offsets: [[.nan, 0, 0]]", "Argument `tpc_offsets` must be a number, but it is nan"),
        ("drift_length: 1e9", "Argument `drift_length` must lie within 0 and 10000 cm"),
        (
            "tpc_offsets: [[0, 0, 0], [99, 0, 0], [20, 0, 0]]",
            "`tpc_offsets` must give each TPC a place of its own, but TPCs 1 and 5, of modules 1 and 3, overlap in",
        ),
        (
            f"tpc_offsets: {[[100 * module, 0, 0] for module in range(1300)]}",
            r"must have 1e\+08 pixels at most, but 2600 TPCs have 1.02e\+08",
        ),
        ("module_to_io_groups: {1: [1]}", "Argument `module_to_io_groups` must list the io groups"),
        (FOUR_MODULES + "module_to_io_groups: {1: [1, 2]}", "Argument `module_to_io_groups` must list the io groups"),
        ("module_to_io_groups: 7", "Argument `module_to_io_groups` must list the io groups"),
        ("- 1\n- 2", "Argument `detector` must be a YAML file of keys and values, but .*mine.yaml holds a list"),
        ("", "Argument `detector` must be a YAML file of keys and values"),
        ("a: [1\nb: 2", "Argument `detector` must be a YAML file, but .*mine.yaml is not at line 2"),
        ("a: !!python/object:os.system {}", "Argument `detector` must be a YAML file"),
        ("a: !!int x", "Argument `detector` must be a YAML file"),
        ("a: 2020-02-31", "Argument `detector` must be a YAML file"),
        ("a: " + "9" * 5000, "Argument `detector` must be a YAML file"),
    ],
)
def test_refused_values(write, text, sentence):
    with pytest.raises(ArgumentError, match=sentence) as caught:
        load_detector(write(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argument", ["detector", "layout"])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ("{a: ", "}"), ("? ", "")])
@pytest.mark.parametrize("depth", [21, 1000, 100_000])
def test_deeply_nested_files(write, argument, begin, end, depth):
    """The parser would end the process."""
    path = write(f"pixel_pitch: {begin * depth}{end * depth}\n" if end else begin * depth)
    with pytest.raises(ArgumentError, match=f"Argument `{argument}` must be a YAML file, but .* nested more than 20"):
        load_detector(**{argument: path})


def test_shifts_may_be_negative(write):
    assert load_detector(write("shift_x: -0.1")).parameters.shift_x == -0.1


@pytest.mark.parametrize("source", ["modul0", "there/is/none.yaml", None, 3])
def test_unknown_detector(source):
    sentence = r"Argument `detector` must be the name of a built-in detector \(module0\) or the path"
    with pytest.raises(ArgumentError, match=sentence) as caught:
        load_detector(source)
    assert repr(str(source)) in str(caught.value)
    if source == "modul0":
        assert "Did you mean `module0`?" in str(caught.value)


def test_modules_may_overlap_as_files_round(write):
    assert load_detector(write("tpc_offsets: [[0, 0, 0], [60, 0, 0]]")).geometry.n_planes == 4
    with pytest.raises(ArgumentError, match="a place of its own"):
        load_detector(write("tpc_offsets: [[0, 0, 0], [59, 0, 0]]"))


@pytest.mark.parametrize("layout", present("small_layout-2.4.16.yaml", "multi_tile_layout-2.4.16.yaml"))
def test_layouts_must_fit(write, sample_file, layout):
    path = sample_file(layout)
    with pytest.raises(ArgumentError, match=r"one per module \(4 in .*mine.yaml\), but 2 are given"):
        load_detector(write(FOUR_MODULES), [path, path])
    with pytest.raises(ArgumentError, match="the list is empty"):
        load_detector("module0", [])


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(ArgumentError, match=f"but {re.escape(str(path))}: it is not text"):
        load_detector(path)
