"""The tone network: statistics of whole pictures, the curves that it applies, and its training."""

import cv2
import numpy as np
import pytest
import torch

from descreen import restore, train_tone
from descreen.command import load_trained
from descreen.config import DescreenConfig
from descreen.picture_net import WINDOW, windows
from descreen.system import Descreener
from descreen.tone import MAX_CHANGE, STATISTICS, ToneNet, statistics, tone_terms
from halftone.screens import am_cmyk
from training.initial import load_initial
from utils.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


def constant(coefficients):
    """A tone network whose coefficients are the same for every picture, as shares of MAX_CHANGE."""
    network = ToneNet().eval()
    network.layers[-1].bias.data = torch.atanh(torch.tensor(coefficients))
    return network


@pytest.fixture
def model(tmp_path):
    """A small checkpoint of the coarse stage, as training writes it."""
    torch.manual_seed(0)
    network = Descreener(4, kind="residual", deepest=8, blur=1.0, waves=True)
    config = DescreenConfig(width=4).dump()
    path = tmp_path / "coarse.pth.tar"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch(), "config": config})
    return path


def test_an_untrained_network_changes_nothing(picture):
    np.testing.assert_array_equal(ToneNet().eval().correct(picture, picture, 4.0), picture)


def test_the_correction_scales_channels_and_adds_a_parabola(picture):
    shares = [0.5, 0.25, -0.5, 0.5]
    corrected = constant(shares).correct(picture, picture, 4.0)
    x = picture / 255
    blue, green, red, gain = np.array(shares) * MAX_CHANGE
    expected = x * (1 + np.array([blue, green, red])) + gain * x * (1 - x)
    np.testing.assert_allclose(corrected, np.clip(255 * expected, 0, 255), atol=0.501)


@pytest.mark.parametrize("sign", [(-1, -1), (-1, 1), (1, -1), (1, 1)])
def test_every_curve_rises(sign):
    levels = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    limits = np.array(MAX_CHANGE) * [sign[0], sign[0], sign[0], sign[1]]
    assert (np.diff(levels + tone_terms(levels) @ limits, axis=0) > 0).all()


def test_statistics_are_quantiles_of_restoration_and_scan():
    scan, restored = np.full((30, 20, 3), (10, 20, 30), np.uint8), np.full((30, 20, 3), (60, 200, 100), np.uint8)
    found = 255 * statistics(scan, restored, 4.0)[:-1].reshape(6, 3, -1)
    for values, expected in zip(
        found, [(60, 200, 100), (200, 60, 140), (30, 10, 20)] + 3 * [(10, 20, 30)], strict=True
    ):
        np.testing.assert_allclose(values, np.repeat(np.array(expected)[:, None], values.shape[1], axis=1))
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    median = statistics(ramp, ramp, 4.0)[:-1].reshape(6, 3, -1)[0, 0, 6]
    assert median == pytest.approx(0.5, abs=1 / 255)
    assert statistics(ramp, ramp, 4.0)[-1] == pytest.approx(np.log(4))


@pytest.mark.parametrize(("size", "count"), [((20, 30), 1), ((256, 256), 1), ((257, 100), 2), ((5000, 700), 9)])
def test_statistics_of_large_pictures_are_those_of_evenly_spaced_windows(size, count):
    found = windows(*size)
    assert len(found) == count
    for axis, side in enumerate(size):
        starts, stops = ([getattr(window[axis], end) for window in found] for end in ("start", "stop"))
        assert min(starts) == 0 and max(stops) == side
        assert {b - a for a, b in zip(starts, stops, strict=True)} == {min(side, WINDOW)}


def test_the_error_after_a_correction_is_known_without_the_pixels(picture):
    truth = np.random.default_rng(1).integers(0, 256, picture.shape).astype(np.uint8)
    sample = train_tone._sample(picture, picture, truth, 4.0)
    coefficients = np.array([0.1, -0.2, 0.05, 0.3])
    x = picture / 255
    error = np.square(x + tone_terms(x) @ coefficients - truth / 255).mean()
    columns = [torch.from_numpy(np.asarray(part))[None] for part in sample[1:]]
    assert train_tone.corrected_error(torch.from_numpy(coefficients)[None], *columns).item() == pytest.approx(error)


def test_training_finds_a_gain_that_the_statistics_show():
    random = np.random.default_rng(0)
    rows = []
    for _ in range(80):
        truth = cv2.resize(random.integers(0, 256, (6, 6, 3)).astype(np.uint8), (48, 48))
        restored = np.clip(truth * random.uniform(0.7, 1), 0, 255).astype(np.uint8)
        rows.append(train_tone._sample(restored, restored, truth, 4.0))
    network = train_tone.fit_tone(rows[:60], seed=0)
    before, after = train_tone._validate(network, rows[60:])
    assert after > before + 3


def test_the_command_adds_a_tone_network_to_a_checkpoint(model, make_data, tmp_path, capsys):
    out = tmp_path / "tone.pth.tar"
    arguments = ["--data_dir", str(make_data(128)), "--scans", "8", "--device", "cpu"]
    assert train_tone.main(["--model", str(model), "--out", str(out), *arguments]) == 0
    assert "with the tone network" in capsys.readouterr().out
    before, after = read_checkpoint(model), read_checkpoint(out)
    for name, value in before["state_dict"].items():
        assert torch.equal(value, after["state_dict"][name])
    network = load_trained(out, "cpu").network
    assert network.arch() == before["arch"] | {"tone": True} and network.tone.mean.shape == (STATISTICS,)
    assert network.tone.mean.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--scans", "7"], "--scans 7: allowed: 8 or more"),
        (["--out", "nowhere/tone.pth.tar"], "nowhere/tone.pth.tar: its folder does not exist"),
        (["--out", "."], ".: is a folder, not a file to write"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(model, make_data, tmp_path, capsys, change, message):
    arguments = ["--model", str(model), "--out", str(tmp_path / "x.pth.tar"), "--data_dir", str(make_data(128))]
    assert train_tone.main([*arguments, *change]) == 2
    assert capsys.readouterr().err.strip().endswith(message)


def test_tones_are_corrected_unless_they_are_to_be_kept_or_the_dots_are_too_fine(tmp_path):
    network = Descreener(4, kind="residual", deepest=8, blur=1.0, tone=True).eval()
    network.tone = constant([0.5, 0.5, 0.5, 0.0])
    path, scans = tmp_path / "model.pth.tar", tmp_path / "scans"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    scans.mkdir()
    gray = np.full((128, 128, 3), 120, np.uint8)
    for pitch in (5.0, 2.3):
        cv2.imwrite(str(scans / f"{pitch}.png"), am_cmyk(gray, pitch=pitch, supersample=3))
    means = {}
    for flags in ([], ["--keep_tones"]):
        out = tmp_path / f"out{len(flags)}"
        assert restore.main(["--data_dir", str(scans), "--save_dir", str(out), "--model", str(path), *flags]) == 0
        means |= {(image.stem, *flags): cv2.imread(str(image)).mean() for image in (out / "restored").iterdir()}
    assert means["5.0",] == pytest.approx(1.15 * means["5.0", "--keep_tones"], rel=0.01)
    assert means["2.3",] == means["2.3", "--keep_tones"]


def test_a_coarse_network_continues_from_a_checkpoint_with_a_tone_network(tmp_path):
    trained = Descreener(4, tone=True)
    path = tmp_path / "model.pth.tar"
    write_checkpoint(path, {"state_dict": trained.state_dict(), "arch": trained.arch()})
    network = Descreener(4)
    assert load_initial(network, path, DescreenConfig.excluded_from_initial) == []
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in network.state_dict().items())
