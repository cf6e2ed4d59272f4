"""python -m descreen.restore and descreen.rescreen on real files, with and without a checkpoint."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from descreen import command, demo, rescreen, restore
from descreen.engine import DescreenEngine
from descreen.screen_finder import common_pitch, find_screens
from descreen.system import COARSE_NETS, Descreener
from halftone.screens import am_cmyk, am_screen
from images.files import read_image
from metrics.quality import psnr
from model.reshalf import ResHalf
from utils.checkpoint import write_checkpoint

ROOT = Path(__file__).parents[2]


def photo(height=180, width=200):
    cells = np.random.default_rng(2).integers(30, 226, (5, 5, 3)).astype(np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Descreener(4, ("coarse", "edge", "details"), "small").eval()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model_best.pth.tar"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    return path


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    cv2.imwrite(str(folder / "a page.png"), am_cmyk(photo(), pitch=5.0, supersample=3))
    cv2.imwrite(str(folder / "plain.JPG"), photo(40, 52))
    return folder


def call(module, scans, out, *more):
    return module.main(["--data_dir", str(scans), "--save_dir", str(out), "--device", "cpu", *map(str, more)])


@pytest.mark.parametrize("method", ["network", "gaussian", "fft_notch", "bilateral"])
def test_every_scan_is_restored_and_its_screen_printed(scans, tmp_path, checkpoint, capsys, method):
    out = tmp_path / "out"
    assert call(restore, scans, out, "--method", method, "--model", checkpoint) == 0
    assert sorted(path.name for path in (out / "restored").iterdir()) == ["a page.png", "plain.png"]
    assert cv2.imread(str(out / "restored/plain.png")).shape == (40, 52, 3)
    assert cv2.imread(str(out / "overview.png")).shape[1] == 2 * 200 + 8
    text = capsys.readouterr().out
    assert "black 5.0" in text and "45." in text and "no screen: unchanged" in text


@pytest.mark.parametrize("kind", COARSE_NETS)
def test_tiles_equal_the_whole(kind):
    torch.manual_seed(0)
    network = Descreener(4, ("coarse", "edge", "details"), "small", kind=kind, waves=True).eval()
    nn.init.normal_(network.coarse.get_submodule("leave" if kind == "residual" else "out")[-1].weight, std=0.1)
    scan = am_cmyk(photo(200, 333), pitch=4.0)
    whole, tiled = (DescreenEngine(network, "cpu", tile, bf16=False).restore(scan) for tile in (1024, 64))
    assert whole.shape == scan.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_a_gray_scan_is_restored_gray():
    torch.manual_seed(0)
    network = Descreener(4, kind="residual", waves=True).eval()
    nn.init.normal_(network.coarse.leave[-1].weight, std=0.1)
    gray = am_screen(cv2.cvtColor(photo(200, 200), cv2.COLOR_BGR2GRAY), pitch=4.0, supersample=3)
    restored = DescreenEngine(network, "cpu").restore(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))
    assert (restored == restored[..., :1]).all() and np.abs(restored[..., 0].astype(int) - gray).mean() > 5


def test_a_new_screen_has_the_given_pitch_and_angles(scans, tmp_path):
    out = tmp_path / "out"
    wanted = ("--pitch", 7.5, "--angles", "20,50,80,35", "--dot", "diamond", "--method", "gaussian")
    assert call(rescreen, scans, out, *wanted) == 0
    found = find_screens(cv2.imread(str(out / "screened/a page.png")))
    assert found["black"].pitch == pytest.approx(7.5, rel=0.03) and found["black"].angle == pytest.approx(35, abs=2)
    assert found["magenta"].angle == pytest.approx(50, abs=2)
    row = [cv2.imread(str(path)) for path in (scans / "a page.png", out / "restored/a page.png", *out.glob("s*/a*"))]
    gap = np.full((180, 8, 3), 255, np.uint8)
    overview = cv2.imread(str(out / "overview.png"))
    np.testing.assert_array_equal(overview[:180], np.hstack([row[0], gap, row[1], gap, row[2]]))


def test_by_default_the_new_screen_equals_that_of_the_scan(scans, tmp_path):
    out = tmp_path / "out"
    assert call(rescreen, scans, out, "--method", "gaussian", "--pitch", "auto") == 0
    first, second = (
        find_screens(cv2.imread(str(path))) for path in (scans / "a page.png", out / "screened/a page.png")
    )
    assert first.keys() >= {"black", "magenta"}
    for ink in first.keys() & second.keys():
        assert second[ink].pitch == pytest.approx(first[ink].pitch, rel=0.03)
        assert second[ink].angle % 90 == pytest.approx(first[ink].angle % 90, abs=2)


def test_a_coarse_screen_is_removed_at_half_size_and_added_at_full_size(tmp_path, capsys):
    truth = read_image(ROOT / "test_imgs/astronaut.jpg").bgr[:255, :257]
    (tmp_path / "scans").mkdir()
    cv2.imwrite(str(tmp_path / "scans/page.png"), am_cmyk(truth, pitch=12, supersample=3))
    assert call(rescreen, tmp_path / "scans", tmp_path / "out", "--pitch", "auto") == 0
    said = capsys.readouterr().out
    assert re.search(r"black (11\.9|12\.0)\d px 45\.\d°, restored at half size", said), said
    assert psnr(truth, cv2.imread(str(tmp_path / "out/restored/page.png"))) > 20
    again = find_screens(cv2.imread(str(tmp_path / "out/screened/page.png")))
    assert common_pitch(again) == pytest.approx(12, rel=0.02)


def test_a_bad_file_is_skipped_and_finished_files_are_not_repeated(scans, tmp_path, capsys):
    (scans / "text.png").write_text("no picture")
    out = tmp_path / "out"
    assert call(restore, scans, out, "--method", "gaussian") == 3
    output = capsys.readouterr()
    assert "text.png" in output.err and "2 done" in output.out
    assert call(restore, scans, out, "--method", "gaussian", "--skip_existing") == 3
    again = capsys.readouterr().out
    assert "2 finished before" in again and again.splitlines()[:3] == output.out.splitlines()[:3]
    assert "black 5.0" in again and "no screen: unchanged" in again
    assert call(restore, scans, out, "--method", "gaussian", "--strength", 2, "--skip-existing") == 3
    assert "2 done" in capsys.readouterr().out


def test_a_missing_checkpoint_is_reported_in_one_line_with_alternatives(scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "SHIPPED", tmp_path / "none.pth.tar")
    for module in (restore, rescreen):
        assert call(module, scans, tmp_path / "out") == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and "no such checkpoint" in lines[0] and "--method gaussian|fft_notch" in lines[0]
    assert not (tmp_path / "out").exists()


def test_the_demonstration_screens_restores_and_screens_again(tmp_path, monkeypatch, checkpoint, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("china", "other"):
        cv2.imwrite(str(photos / f"{name}.png"), photo())
    monkeypatch.setattr(demo, "PHOTOS", photos)
    monkeypatch.setattr(demo, "IDEAL_INKS", tmp_path / "none.pth.tar")
    out, picture = tmp_path / "out", tmp_path / "few.jpg"
    assert demo.main(["--save_dir", str(out), "--model", str(demo.IDEAL_INKS), "--picture", str(picture)]) == 0
    said = capsys.readouterr()
    assert "none.pth.tar is missing: the bilateral filter is used instead" in said.err and "restored" in said.out
    assert cv2.imread(str(out / "demo.png")).shape == (2 * 180 + 8, 4 * 200 + 3 * 8, 3)
    assert cv2.imread(str(picture)).shape == (180, 3 * 200 + 2 * 8, 3)
    assert find_screens(cv2.imread(str(out / "screened/china.png")))["black"].pitch == pytest.approx(7, rel=0.03)
    assert demo.main(["--save_dir", str(out), "--model", str(checkpoint)]) == 0
    (tmp_path / "file").touch()
    assert demo.main(["--save_dir", str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1]) < 200


def test_wrong_usage_is_reported_in_one_line(scans, tmp_path, checkpoint, capsys):
    out = tmp_path / "out"
    assert call(restore, tmp_path / "nowhere", out) == 2
    assert "no such folder" in capsys.readouterr().err
    assert call(restore, scans, scans, "--method", "gaussian") == 2
    assert "output folder must differ" in capsys.readouterr().err
    assert call(restore, scans, out, "--method", "gaussian", "--strength", 0) == 2
    assert "--strength 0.0: allowed" in capsys.readouterr().err
    assert call(restore, scans, out, "--model", checkpoint, "--tile", 40) == 2
    assert "multiple of 32" in capsys.readouterr().err
    other = tmp_path / "other.pth.tar"
    reshalf = ResHalf(4)
    write_checkpoint(other, {"state_dict": reshalf.state_dict(), "arch": reshalf.arch()})
    assert call(restore, scans, out, "--model", other) == 2
    assert "other.pth.tar: not a descreening checkpoint: contains ResHalf" in capsys.readouterr().err
    refusals = {
        ("--pitch", "1"): "argument --pitch: 1 is neither auto nor pixels in 2..1000",
        ("--pitch", "wide"): "argument --pitch: wide is neither auto nor pixels in 2..1000",
        ("--angles", "1,2,3"): "argument --angles: 1,2,3 is neither auto nor four angles, as in 15,75,0,45",
        ("--angles", "a,b,c,d"): "argument --angles: a,b,c,d is neither auto nor four angles, as in 15,75,0,45",
        ("--under_colour_removal", "x"): "argument --under_colour_removal: x is not a share in 0..1",
        ("--under_colour_removal", "2"): "argument --under_colour_removal: 2 is not a share in 0..1",
        ("--dot", "star"): "argument --dot: invalid choice",
    }
    for wrong, reason in refusals.items():
        with pytest.raises(SystemExit) as exit:
            call(rescreen, scans, out, *wrong)
        assert exit.value.code == 2 and reason in capsys.readouterr().err
    assert rescreen.parse(["--data_dir", "scans", "--angles=-15,75,0,45"]).angles["cyan"] == -15


def test_the_commands_start_as_modules_from_the_repository():
    for module in ("restore", "rescreen", "train"):
        command_line = [sys.executable, "-m", f"descreen.{module}", "--help"]
        assert subprocess.run(command_line, cwd=ROOT, capture_output=True).returncode == 0


def test_shards_write_what_one_process_writes(scans, tmp_path, capsys):
    one, shared = tmp_path / "one", tmp_path / "shared"
    assert call(restore, scans, one, "--method", "gaussian") == 0
    for shard in ("1/2", "2/2"):
        assert call(restore, scans, shared, "--method", "gaussian", "--shard", shard) == 0
    assert "2 done" in capsys.readouterr().out.splitlines()[-2]
    for path in sorted((one / "restored").iterdir()):
        assert path.read_bytes() == (shared / "restored" / path.name).read_bytes()
    assert len(list((shared / "restored").iterdir())) == 2
    assert call(restore, scans, shared, "--shard", "3/2") == 2
