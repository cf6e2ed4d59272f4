"""The evaluation table over simulated prints and scans."""

import argparse
import json

import cv2
import numpy as np
import pytest
import torch

from descreen import evaluate
from descreen.system import Descreener
from images.files import write_halftone, write_image
from utils.checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    write_halftone(folder / "reference.png", np.zeros((96, 96), np.uint8))
    lists = {}
    for split in ("train", "val"):
        photos = [f"{split}{number}.png" for number in range(2)]
        for photo in photos:
            write_image(folder / photo, cv2.resize(random.integers(0, 256, (4, 4, 3)).astype(np.uint8), (96, 96)))
        lists[split] = {"inputs": photos, "labels": ["reference.png"] * 2}
    (folder / "HalftoneVOC2012.json").write_text(json.dumps(lists))
    return folder


NETWORK = ("network, coarse", "network, no notch", "network")


def test_the_table_has_a_row_per_method_and_baselines_beat_no_processing(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "STRENGTHS", (0.5, 1.0))
    torch.manual_seed(0)
    network, model = Descreener(4, ("coarse", "edge", "details")), tmp_path / "model.pth.tar"
    write_checkpoint(model, {"state_dict": network.state_dict(), "arch": network.arch()})
    table = tmp_path / "table.json"
    arguments = ["--data_dir", str(data), "--model", str(model), "--json", str(table), "--device", "cpu"]
    kinds = ["AM", "magazine 175 lpi, 300 dpi", "floyd_steinberg"]
    assert evaluate.main([*arguments, "--kinds", *kinds]) == 0
    found = json.loads(table.read_text())
    assert list(found) == kinds
    for rows in found.values():
        first, *baselines, coarse, bare, last = rows
        assert first == "nothing" and len(baselines) == 3 and (coarse, bare, last) == NETWORK
        best = max(rows[name]["psnr"] for name in (first, *baselines))
        assert rows[last]["psnr_margin"] == pytest.approx(rows[last]["psnr"] - best)
        assert rows[last] == rows[coarse]  # DetailsNet is zero-initialized
        assert all(rows[name]["psnr"] > rows["nothing"]["psnr"] + 2 for name in baselines)
    am, fm = found["AM"], found["floyd_steinberg"]
    assert am["nothing"]["found"] == 1 and fm["nothing"]["found"] == 0 and "visible" not in fm["nothing"]
    for row in am.values():
        assert row["visible"] <= row["worst"]
    assert am["nothing"]["visible"] > 10 > am["gaussian 1"]["visible"]
    assert "floyd_steinberg" in capsys.readouterr().out


def test_row_names_distinguish_checkpoints(tmp_path):
    network = Descreener(4, ("coarse",))
    names = ("a/run/best.pth.tar", "b/run/best.pth.tar", "b/run/epoch_1.5.pth.tar", "b/run/epoch_1.6.pth.tar")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    found = evaluate._networks(argparse.Namespace(model=paths, device="cpu", tile=None, inks="auto"))
    rows = [str(paths[0]), str(paths[1]), "run/epoch_1.5", "run/epoch_1.6"]
    assert list(found) == [name for row in rows for name in (f"{row}, no notch", row)]


def test_scans_are_reproducible(data):
    photos = evaluate.PhotoSet.from_lists(data, "HalftoneVOC2012.json", "val")
    first, second, other = (evaluate.make_scans(photos, 2, "AM", seed) for seed in (0, 0, 50))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_a_missing_list_is_reported(tmp_path, capsys):
    assert evaluate.main(["--data_dir", str(tmp_path)]) == 2
    assert "HalftoneVOC2012.json: cannot be read" in capsys.readouterr().err


def test_an_unwritable_json_path_is_reported_before_evaluation(data, tmp_path, capsys):
    assert evaluate.main(["--data_dir", str(data), "--json", str(tmp_path / "nowhere" / "table.json")]) == 2
    assert "table.json: its folder does not exist" in capsys.readouterr().err
    assert evaluate.main(["--data_dir", str(data), "--json", str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder" in capsys.readouterr().err
