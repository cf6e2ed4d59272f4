"""The command evaluate.py: measurements of a checkpoint, output files, one-line errors for invalid input."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
from images.files import read_image
from model.reshalf import InverseHalf, ResHalf
from reshalf import ResHalfCodec, evaluation
from utils.checkpoint import write_checkpoint

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def small_fields(monkeypatch):
    monkeypatch.setattr(evaluation, "FIELD", (80, 80))
    monkeypatch.setattr(evaluation, "PATCH", 32)
    monkeypatch.setattr(evaluation, "MARGIN", 8)


def save(network, path):
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch(), "epoch": 1})
    return path


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    return save(ResHalf(width=4), tmp_path / "model.pth.tar")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 48, 3)), ("b.png", (33, 50, 3))):
        soft = cv2.GaussianBlur(random.integers(0, 256, shape, dtype=np.uint8), (0, 0), 2)
        cv2.imwrite(str(folder / name), soft)
    return folder


def run(capsys, *arguments):
    code = evaluate.main([str(argument) for argument in arguments])
    return code, capsys.readouterr()


def refused(capsys, *arguments):
    """Return the error line of a run that must fail with exit code 2 and one error line."""
    code, printed = run(capsys, *arguments)
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in printed.err
    return lines[0]


def test_everything_is_measured_and_written(capsys, tmp_path, model, photos):
    out = tmp_path / "new" / "out"
    code, printed = run(capsys, "--model", model, "--data_dir", photos, "--save_dir", out, "--device", "cpu")
    assert code == 0
    found = json.loads((out / "metrics.json").read_text())
    assert found["photos"] == 2 and list(found["images"]) == ["a.png", "b.png"]
    assert set(found["mean"]) == {"halftone", "restoration", "robustness", "spectrum", "gray ramp"}
    assert set(found["mean"]["halftone"]) == {"network", *evaluation.CLASSICAL} == set(found["mean"]["spectrum"])
    assert set(found["constant_fields"]) == {*evaluation.GRAYS, *evaluation.COLOURS}
    psnr = [image["restoration"]["network"]["psnr"] for image in found["images"].values()]
    assert found["mean"]["restoration"]["network"]["psnr"] == pytest.approx(sum(psnr) / 2)
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png", "b.png", "mean"]
    assert float(rows[1]["restoration/network/psnr"]) == pytest.approx(psnr[1], rel=1e-5)
    assert f"{sum(psnr) / 2:.2f}" in printed.out and "void-and-cluster" in printed.out
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {
        "metrics.json", "metrics.csv", "spectra_gray.png", "spectra_colour.png",
        "halftone/a.png", "halftone/b.png", "restored/a.png", "restored/b.png",
    }  # fmt: skip


def test_metrics_are_those_of_the_files_and_are_reproducible(capsys, tmp_path, model, photos):
    from metrics.quality import restoration_metrics, tone_psnr

    parts = ["--no_references", "--no_robustness", "--no_spectra", "--device", "cpu"]
    for out in ("one", "two"):
        assert run(capsys, "--model", model, "--data_dir", photos, "--save_dir", tmp_path / out, *parts)[0] == 0
    one, two = ((tmp_path / out / "metrics.json").read_text() for out in ("one", "two"))
    assert one == two
    image = json.loads(one)["images"]["b.png"]
    photo, restored = (cv2.imread(str(p)) for p in (photos / "b.png", tmp_path / "one" / "restored" / "b.png"))
    halftone = cv2.imread(str(tmp_path / "one" / "halftone" / "b.png"), cv2.IMREAD_GRAYSCALE)
    expected = restoration_metrics(photo, restored)["psnr"]
    assert image["restoration"]["network"]["psnr"] == pytest.approx(expected)
    gray = photo @ np.array([0.114, 0.587, 0.299]) / 255
    assert image["halftone"]["network"]["tone_psnr_1.5"] == pytest.approx(tone_psnr(halftone, gray))
    assert set(image) == {"halftone", "restoration"} and list(image["halftone"]) == ["network"]


def test_a_list_selects_the_photos_and_checks_their_content(capsys, tmp_path, model, photos):
    listed, out = tmp_path / "list.json", tmp_path / "out"
    assert run(capsys, "--data_dir", photos, "--make_list", listed)[0] == 0
    cv2.imwrite(str(photos / "c.png"), np.zeros((40, 40, 3), np.uint8))
    parts = ["--no-references", "--no-robustness", "--no-spectra", "--device", "cpu", "--save_dir", out]
    common = ["--model", model, "--data_dir", photos, "--list", listed, *parts]
    assert run(capsys, *common)[0] == 0
    assert list(json.loads((out / "metrics.json").read_text())["images"]) == ["a.png", "b.png"]
    cv2.imwrite(str(photos / "b.png"), np.zeros((40, 40, 3), np.uint8))
    assert "b.png: not the file" in refused(capsys, *common)


def test_the_shipped_list_has_fifty_checksums():
    entries = json.loads((REPOSITORY / "dataset" / "val_list.json").read_text())["images"]
    assert len({entry["name"] for entry in entries}) == len({entry["sha256"] for entry in entries}) == 50
    assert all(len(bytes.fromhex(entry["sha256"])) == 32 and set(entry) == {"name", "sha256"} for entry in entries)


def test_an_invalid_input_is_one_error_line_that_names_the_file(capsys, tmp_path, model, photos):
    out = ["--save_dir", tmp_path / "out", "--device", "cpu"]
    assert "none.pth.tar" in refused(capsys, "--model", tmp_path / "none.pth.tar", "--data_dir", photos, *out)
    assert "nowhere" in refused(capsys, "--model", model, "--data_dir", tmp_path / "nowhere", *out)
    assert "nowhere" in refused(capsys, "--data_dir", photos, "--make_list", tmp_path / "nowhere" / "list.json")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty: no images" in refused(capsys, "--model", model, "--data_dir", empty, *out)
    assert "empty: no images" in refused(capsys, "--data_dir", empty, "--make_list", tmp_path / "list.json")
    other = save(InverseHalf(width=4), tmp_path / "inverse.pth.tar")
    assert "InverseHalf" in refused(capsys, "--model", other, "--data_dir", photos, *out)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert "file" in refused(capsys, "--model", model, "--data_dir", photos, "--save_dir", in_the_way)
    assert "device nonsense: " in refused(capsys, "--model", model, "--data_dir", photos, "--device", "nonsense")


def test_bad_photos_are_listed_and_the_others_are_measured(capsys, tmp_path, model, photos):
    parts = ["--no_references", "--no_robustness", "--no_spectra", "--device", "cpu", "--save_dir", tmp_path / "out"]
    command = ["--model", model, "--data_dir", photos, *parts]
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:200])
    cv2.imwrite(str(photos / "small.png"), np.zeros((20, 99, 3), np.uint8))
    code, printed = run(capsys, *command)
    assert code == 3 and "2 photos; written to" in printed.out
    assert f"skipped: {photos / 'broken.png'}: truncated or damaged" in printed.err
    assert f"skipped: {photos / 'small.png'}: 99×20 is too small" in printed.err
    assert "2 of 4 photos skipped: broken.png, small.png" in printed.err
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert list(found["images"]) == ["a.png", "b.png"] and found["skipped"] == ["broken.png", "small.png"]
    for good in ("a.png", "b.png"):
        (photos / good).unlink()
    code, printed = run(capsys, *command)
    assert code == 3 and "2 of 2 photos skipped" in printed.err and not printed.out


def test_a_photo_that_does_not_fit_into_memory_is_skipped(capsys, tmp_path, model, photos, monkeypatch):
    halftone = evaluation.ResHalfCodec.halftone

    def scarce(codec, bgr):
        if len(bgr) == 40:
            raise MemoryError
        return halftone(codec, bgr)

    monkeypatch.setattr(evaluation.ResHalfCodec, "halftone", scarce)
    parts = ["--no_references", "--no_robustness", "--no_spectra", "--device", "cpu", "--save_dir", tmp_path / "out"]
    code, printed = run(capsys, "--model", model, "--data_dir", photos, *parts)
    assert code == 3 and "skipped: a: not enough memory" in printed.err and "1 of 2 photos skipped" in printed.err
    assert list(json.loads((tmp_path / "out/metrics.json").read_text())["images"]) == ["b.png"]


def test_photos_with_the_same_stem_are_both_measured_and_named_apart(capsys, tmp_path, model, photos):
    parts = ["--no_references", "--no_robustness", "--no_spectra", "--device", "cpu"]
    cv2.imwrite(str(photos / "a.bmp"), cv2.imread(str(photos / "a.png")))
    code, printed = run(capsys, "--model", model, "--data_dir", photos, "--save_dir", tmp_path / "out", *parts)
    assert code == 0 and "a.bmp becomes a.bmp.png" in printed.err
    assert {"a.bmp.png", "a.png.png"} <= {path.name for path in (tmp_path / "out/halftone").iterdir()}


def test_transparency_and_resolution_are_kept_and_other_files_counted(capsys, tmp_path, model):
    (tmp_path / "in").mkdir()
    clear = Image.new("RGBA", (40, 32), (0, 0, 0, 0))
    clear.save(tmp_path / "in/a.png", dpi=(300, 150))
    (tmp_path / "in/notes.txt").write_text("no image")
    parts = ["--no_references", "--no_robustness", "--no_spectra", "--device", "cpu"]
    flags = ["--model", model, "--data_dir", tmp_path / "in", "--save_dir", tmp_path / "out"]
    code, printed = run(capsys, *flags, *parts)
    assert code == 0 and "1 other file ignored" in printed.err
    halftone, restored = (read_image(tmp_path / f"out/{folder}/a.png") for folder in ("halftone", "restored"))
    assert halftone.resolution == restored.resolution == pytest.approx((300, 150), abs=0.02)
    assert (restored.alpha == 0).all()
    on_white = ResHalfCodec(model, "cpu").halftone(np.full((32, 40, 3), 255, np.uint8))
    np.testing.assert_array_equal(halftone.bgr[..., 0], on_white)


def test_the_shipped_checkpoint_is_measured_by_default(photos):
    assert evaluate.parse(["--data_dir", str(photos)]).model == REPOSITORY / "checkpoints/model_best.pth.tar"


def test_the_options_of_quality_are_those_of_inference(capsys, tmp_path, photos):
    quick = ("--data_dir", photos, "--no_references", "--no_robustness", "--no_spectra", "--save_dir")
    written = {}
    for name, options in {"default": (), "none": ("--rounds", 0), "fast": ("--fast",), "best": ("--best",)}.items():
        assert run(capsys, *quick, tmp_path / name, *options)[0] == 0
        content = json.loads((tmp_path / name / "metrics.json").read_text())
        written[name] = content["mean"]["restoration"]["network"]["psnr"]
        chosen = (content["rounds"], content["fast"], content["best"])
        assert chosen == (0 if name == "none" else None, name == "fast", name == "best")
    assert written["fast"] < written["none"] < written["default"] < written["best"]


def test_photographs_are_never_overwritten(capsys, tmp_path, model, photos):
    restored = tmp_path / "restored"
    photos.rename(restored)
    before = {path.name: path.read_bytes() for path in restored.iterdir()}
    words = refused(capsys, "--model", model, "--data_dir", restored, "--save_dir", tmp_path)
    assert "would be overwritten" in words
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == before
