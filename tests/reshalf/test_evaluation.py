"""A network is measured through its files, by the definitions of metrics and spectra."""

import math

import cv2
import numpy as np
import pytest

from metrics.damage import FLIPS
from model.reshalf import ResHalf
from reshalf import evaluation
from reshalf.codec import ResHalfCodec
from utils.errors import UserError


class Copy:
    """Halftone: the thresholded gray. Restoration: the halftone itself, plus a cast in levels."""

    seed = 0

    def __init__(self, cast=(0, 0, 0)):
        self.cast = np.array(cast)
        self.seen = []

    def halftone(self, bgr):
        return np.where(bgr.mean(axis=2) > 127.5, np.uint8(255), np.uint8(0))

    def restore(self, halftone):
        self.seen.append(halftone.copy())
        return np.clip(halftone[..., None] + self.cast, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_fields(monkeypatch):
    monkeypatch.setattr(evaluation, "FIELD", (80, 112))
    monkeypatch.setattr(evaluation, "PATCH", 32)
    monkeypatch.setattr(evaluation, "MARGIN", 8)


def black_and_white(height=48, width=50):
    pattern = np.random.default_rng(2).random((height, width)) < 0.5
    return np.repeat(np.where(pattern, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def test_what_is_measured_is_what_the_files_hold(tmp_path):
    photo, engine = black_and_white(), Copy()
    codec = evaluation.FileCodec(engine, tmp_path)
    evaluation.measure_photo(codec, photo, "picture", references=False, robustness=False)
    written = cv2.imread(str(tmp_path / "halftone" / "picture.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(written, photo[..., 0])
    assert np.array_equal(engine.seen[0], written)
    assert np.array_equal(cv2.imread(str(tmp_path / "restored" / "picture.png")), photo)


def test_smallest_photo_can_be_measured(tmp_path):
    codec = evaluation.FileCodec(Copy(), tmp_path)
    sections = evaluation.measure_photo(codec, black_and_white(32, 32), "p", references=True, robustness=True)
    assert math.isnan(sections["restoration"]["JPEG, 1 bit"]["psnr"])  # not even a header fits into 128 bytes


def test_robustness_of_a_copy_is_that_of_the_halftone(tmp_path):
    codec = evaluation.FileCodec(Copy(), tmp_path)
    sections = evaluation.measure_photo(codec, black_and_white(), "p", references=False, robustness=True)
    found = {name: row["psnr"] for name, row in sections["robustness"].items()}
    for share in FLIPS[1:]:
        assert found[f"flip {share:.0%}"] == pytest.approx(-10 * math.log10(share))
    assert all(found[name] == math.inf for name in ("flip 0%", "crop 8,8", "crop 1,0", "crop 0,1", "crop 1,1", "PNG"))
    assert sections["restoration"]["network"]["psnr"] == math.inf


def test_references_stand_beside_at_no_more_bits(tmp_path):
    photo = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (160, 144, 3), dtype=np.uint8), (0, 0), 3)
    codec = evaluation.FileCodec(Copy(), tmp_path)
    sections = evaluation.measure_photo(codec, photo, "p", references=True, robustness=False)
    assert list(sections["halftone"]) == ["network", *evaluation.CLASSICAL]
    rows = sections["restoration"]
    assert rows["network"]["bits/pixel"] == 8 * (tmp_path / "halftone" / "p.png").stat().st_size / (160 * 144)
    for codec_name in ("JPEG", "WebP"):
        assert rows[f"{codec_name}, 1 bit"]["bits/pixel"] <= 1
        assert not rows[f"{codec_name}, file"]["bits/pixel"] > rows["network"]["bits/pixel"]
    tone = {method: row["tone_psnr_1.5"] for method, row in sections["halftone"].items()}
    assert tone["Ostromoukhov"] > tone["void-and-cluster"] > tone["white noise"]


@pytest.mark.parametrize("method", evaluation.CLASSICAL)
@pytest.mark.parametrize("level", [32, 128, 223])
def test_classical_halftones_keep_the_mean(method, level):
    halftone = evaluation.CLASSICAL[method](np.full((256, 256), level, np.uint8))
    tolerance = 0.008 if method == "white noise" else 0.003
    assert set(np.unique(halftone)) == {0, 255} and halftone.mean() / 255 == pytest.approx(level / 255, abs=tolerance)


def test_flat_fields_rank_blue_noise_below_white_noise(tmp_path):
    flat = dict(evaluation.measure_flat(evaluation.FileCodec(Copy(), tmp_path)))
    assert list(flat) == [*evaluation.GRAYS, *evaluation.COLOURS]
    assert flat["1/8"]["network"].level == pytest.approx(32 / 255)
    assert flat["red"]["network"].level == pytest.approx(0.299)
    assert flat["red"]["Ostromoukhov"].level == pytest.approx(76 / 255)
    rows = evaluation.spectrum_rows(flat)
    assert rows["Floyd-Steinberg"]["worst/FS"] == 1
    low = {method: row["low-freq gray"] for method, row in rows.items()}
    assert low["white noise"] > 4 * max(low["Ostromoukhov"], low["Floyd-Steinberg"], low["void-and-cluster"])
    assert math.isnan(low["network"])  # a threshold leaves flat fields without a single dot


def test_gray_ramp_shows_false_colour(tmp_path):
    assert evaluation.gray_ramp_chroma(evaluation.FileCodec(Copy(), tmp_path)) == pytest.approx(0, abs=1e-9)
    # −20 levels of blue where it is white, lost where black saturates: half the pixels.
    blue_less = evaluation.gray_ramp_chroma(evaluation.FileCodec(Copy((-20, 0, 0)), tmp_path))
    assert blue_less == pytest.approx(10 * math.hypot(0.564 * 0.886, 0.713 * 0.114), rel=0.01)


def test_network_that_yields_no_numbers_is_refused(tmp_path, monkeypatch):
    network = ResHalf(4, {"halftone": "error_diffusion"}, levels=1)
    codec = evaluation.FileCodec(ResHalfCodec(network, "cpu"), tmp_path)
    monkeypatch.setattr(network, "decode", lambda halftone: halftone.expand(-1, 3, -1, -1) * math.inf)
    with pytest.raises(UserError, match="p: .*not finite"):
        evaluation.measure_photo(codec, black_and_white(), "p", references=False, robustness=False)


def test_photo_too_small_to_measure_is_refused():
    evaluation.check_size(black_and_white(32, 32), "p")
    with pytest.raises(UserError, match=r"p: 31×48 is too small"):
        evaluation.check_size(black_and_white(48, 31), "p")
