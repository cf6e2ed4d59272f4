"""The kind of inks of a print: detected by a classifier, told to the coarse network."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from descreen import restore, train_tone
from descreen.command import load_trained
from descreen.config import DescreenConfig, ScreensConfig
from descreen.engine import DescreenEngine
from descreen.inks import BELIEFS, BLURS, COLOURS, FEATURES, InkClassifier, colour_shares, describe_belief, draw_belief
from descreen.printing import draw_printing, print_and_scan
from descreen.system import Descreener
from halftone.screens import am_cmyk
from training.initial import load_initial
from utils.checkpoint import read_checkpoint, write_checkpoint

SCREENS = ScreensConfig(line=0.0, fm=0.0, gray=0.0, clean=0.0, pitch_min=4.0, process_inks=0.5)


def photo(seed, side=96):
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def network():
    """A coarse network whose output depends on the kind of inks."""
    torch.manual_seed(0)
    network = Descreener(4, kind="residual", deepest=8, blur=1.0, waves=True, inks=True).eval()
    nn.init.normal_(network.coarse.shift.weight, std=3.0)
    nn.init.normal_(network.coarse.leave[-1].weight, std=0.1)
    return network


def saved(network, path):
    config = DescreenConfig(width=4, screens=SCREENS).dump()
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch(), "config": config})
    return path


def test_shares_are_counted_at_the_nearest_levels():
    step = 255 / (COLOURS - 1)
    scan = np.full((20, 30, 3), np.rint([0, step, 4 * step]), np.uint8)
    scan[:5] = 255
    shares = colour_shares(scan).reshape(len(BLURS), COLOURS, COLOURS, COLOURS) ** 2
    np.testing.assert_allclose(shares.sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert shares[0, 0, 1, 4] == pytest.approx(0.75, abs=0.15) and shares[0, 5, 5, 5] == pytest.approx(0.25, abs=0.06)
    assert shares[0, 2:4].max() == 0 and shares[1, 2:4].max() > 0  # colours between, by the blur


def test_beliefs_are_calibrated():
    random = np.random.default_rng(0)
    printing = draw_printing(SCREENS, random)
    kinds = [replace(printing, solids=solids) for solids in (None, ((1.0,) * 3,) * 4)]
    drawn = np.array([[draw_belief(kind, random) for _ in range(20000)] for kind in kinds])
    assert np.abs(drawn).max() <= 1 and np.mean(np.abs(drawn) > 0.9) > 0.6
    for low in (-1, -0.6, -0.2, 0.2, 0.6):
        ideal, process = ((low <= beliefs) & (beliefs < low + 0.4) for beliefs in drawn)
        believed = drawn[(low <= drawn) & (drawn < low + 0.4)].mean()
        assert process.sum() / (ideal.sum() + process.sum()) == pytest.approx((believed + 1) / 2, abs=0.05)


def test_a_classifier_begins_undecided_and_learns_the_colours_of_the_inks():
    rows, scans = [], []
    for number in range(120):
        random = np.random.default_rng(number)
        printing = draw_printing(SCREENS, random)
        scans.append((print_and_scan(photo(number), printing), printing.solids is not None))
        rows.append(train_tone.InkSample(colour_shares(scans[-1][0]), np.float32(scans[-1][1])))
    assert InkClassifier().eval().belief(scans[0][0]) == 0
    trained = train_tone.fit_inks(rows[:90], seed=0)
    right = [(trained.belief(scan) > 0) == process for scan, process in scans[90:]]
    assert np.mean(right) > 0.85


def test_the_kind_is_detected_for_each_scan_unless_it_is_given(network, monkeypatch):
    scan = am_cmyk(photo(0, 128), pitch=4.0)
    engine = DescreenEngine(network, "cpu")
    ideal, process = (engine.restore(scan, inks=kind) for kind in BELIEFS)
    assert np.abs(ideal.astype(int) - process).mean() > 2
    for belief, expected in ((-1.0, ideal), (1.0, process)):
        monkeypatch.setattr(InkClassifier, "belief", lambda self, scan, belief=belief: belief)
        np.testing.assert_array_equal(engine.restore(scan), expected)
        (region,) = engine.find(scan)
        assert region.belief == belief
        np.testing.assert_array_equal(engine.restore(scan, [region]), expected)
    assert describe_belief(-0.95) == "ideal inks" and describe_belief(0.5) == "probably process inks"


def test_networks_without_kinds_refuse_a_given_one(network, tmp_path, capsys):
    scan = am_cmyk(photo(0, 128), pitch=4.0)
    plain = Descreener(4, kind="residual", deepest=8, blur=1.0).eval()
    with pytest.raises(ValueError, match="does not know"):
        DescreenEngine(plain, "cpu").restore(scan, inks="process")
    with pytest.raises(ValueError, match='allowed for the coarse network "residual"'):
        Descreener(4, kind="unet", inks=True)
    (tmp_path / "scans").mkdir()
    cv2.imwrite(str(tmp_path / "scans/a.png"), scan)
    call = ["--data_dir", str(tmp_path / "scans"), "--save_dir", str(tmp_path / "out"), "--inks", "process", "--model"]
    assert restore.main([*call, str(saved(plain, tmp_path / "plain.pth.tar"))]) == 2
    assert capsys.readouterr().err.strip().endswith("plain.pth.tar was trained without kinds of inks, allowed: auto")
    assert restore.main([*call, str(saved(network, tmp_path / "told.pth.tar"))]) == 0
    assert "black 4.0" in (said := capsys.readouterr().out) and "°, process inks" in said
    expected = DescreenEngine(network, "cpu").restore(scan, inks="process")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out/restored/a.png")), expected)


def test_a_network_without_kinds_continues_as_one_that_is_told_them(tmp_path):
    torch.manual_seed(0)
    plain = Descreener(4, kind="residual", deepest=8, waves=True).eval()
    nn.init.normal_(plain.coarse.leave[-1].weight, std=0.1)
    told = Descreener(4, kind="residual", deepest=8, waves=True, inks=True).eval()
    path = str(saved(plain, tmp_path / "plain.pth.tar"))
    assert load_initial(told, path, DescreenConfig.excluded_from_initial) == ["inks"]
    scan = torch.randn(2, 7, 24, 32)
    assert torch.equal(told.restore(torch.cat((scan, torch.ones(2, 1, 24, 32)), dim=1)), plain.restore(scan))


def test_each_sample_is_shifted_by_its_own_kind(network):
    scan = torch.randn(1, 7, 150, 140).repeat(2, 1, 1, 1)
    kinds = torch.tensor([-1.0, 0.5]).reshape(2, 1, 1, 1).expand(2, 1, 150, 140)
    both = network.restore(torch.cat((scan, kinds), dim=1))
    for number in (0, 1):
        alone = network.restore(torch.cat((scan[:1], kinds[number : number + 1]), dim=1))
        torch.testing.assert_close(both[number : number + 1], alone)
    assert not torch.allclose(both[0], both[1])


def test_the_command_trains_the_classifier_with_the_tone_network(network, make_data, tmp_path, capsys):
    model, out = saved(network, tmp_path / "coarse.pth.tar"), tmp_path / "whole.pth.tar"
    arguments = ["--data_dir", str(make_data(128)), "--scans", "8", "--device", "cpu"]
    assert train_tone.main(["--model", str(model), "--out", str(out), *arguments]) == 0
    assert "the kind of inks is detected in" in capsys.readouterr().out
    before, trained = read_checkpoint(model)["state_dict"], load_trained(out, "cpu").network
    assert trained.inks.mean.shape == (FEATURES,) and trained.inks.mean.max() > 0
    assert all(torch.equal(before[name], value) for name, value in trained.coarse.state_dict(prefix="coarse.").items())
