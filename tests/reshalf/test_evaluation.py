"""Evaluation of a network through its files, and the references it is compared with."""

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
    """A codec whose halftone is the thresholded gray and whose restoration is the halftone plus a colour cast."""

    seed = 0

    def __init__(self, cast=(0, 0, 0)):
        self.cast = np.array(cast)
        self.decoded = []

    def halftone(self, bgr):
        return np.where(bgr.mean(axis=2) > 127.5, np.uint8(255), np.uint8(0))

    def restore(self, halftone):
        self.decoded.append(halftone.copy())
        return np.clip(halftone[..., None] + self.cast, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_fields(monkeypatch):
    monkeypatch.setattr(evaluation, "FIELD", (80, 112))
    monkeypatch.setattr(evaluation, "PATCH", 32)
    monkeypatch.setattr(evaluation, "MARGIN", 8)


def black_and_white(height=48, width=50):
    pattern = np.random.default_rng(2).random((height, width)) < 0.5
    return np.repeat(np.where(pattern, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def test_metrics_are_those_of_the_written_files(tmp_path):
    photo, copy = black_and_white(), Copy()
    codec = evaluation.FileCodec(copy, tmp_path)
    evaluation.measure_photo(codec, photo, "picture", references=False, robustness=False)
    written = cv2.imread(str(tmp_path / "halftone" / "picture.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(written, photo[..., 0])
    assert np.array_equal(copy.decoded[0], written)
    assert np.array_equal(cv2.imread(str(tmp_path / "restored" / "picture.png")), photo)


def test_a_photo_of_the_smallest_size_can_be_measured(tmp_path):
    codec = evaluation.FileCodec(Copy(), tmp_path)
    sections = evaluation.measure_photo(codec, black_and_white(32, 32), "p", references=True, robustness=True)
    assert math.isnan(sections["restoration"]["JPEG, 1 bit"]["psnr"])  # a JPEG header alone exceeds 128 bytes


def test_robustness_of_a_copying_codec_equals_the_damage_to_the_halftone(tmp_path):
    codec = evaluation.FileCodec(Copy(), tmp_path)
    sections = evaluation.measure_photo(codec, black_and_white(), "p", references=False, robustness=True)
    found = {name: row["psnr"] for name, row in sections["robustness"].items()}
    for share in FLIPS[1:]:
        assert found[f"flip {share:.0%}"] == pytest.approx(-10 * math.log10(share))
    assert all(found[name] == math.inf for name in ("flip 0%", "crop 8,8", "crop 1,0", "crop 0,1", "crop 1,1", "PNG"))
    assert sections["restoration"]["network"]["psnr"] == math.inf


def test_reference_codecs_use_no_more_bits_than_the_halftone(tmp_path):
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


def test_blue_noise_has_less_low_frequency_energy_than_white_noise():
    flat = dict(evaluation.measure_flat(Copy()))
    assert list(flat) == [*evaluation.GRAYS, *evaluation.COLOURS]
    assert flat["1/8"]["network"].level == pytest.approx(32 / 255)
    assert flat["red"]["network"].level == pytest.approx(0.299)
    assert flat["red"]["Ostromoukhov"].level == pytest.approx(76 / 255)
    rows = evaluation.spectrum_rows(flat)
    assert rows["Floyd-Steinberg"]["worst/FS"] == 1
    low = {method: row["low-freq gray"] for method, row in rows.items()}
    assert low["white noise"] > 4 * max(low["Ostromoukhov"], low["Floyd-Steinberg"], low["void-and-cluster"])
    assert math.isnan(low["network"])  # a fixed threshold turns constant fields all black or all white


def test_a_gray_ramp_measures_false_colour():
    assert evaluation.gray_ramp_chroma(Copy()) == pytest.approx(0, abs=1e-9)
    # −20 levels of blue in the white half; clipped at 0 in the black half.
    blue_less = evaluation.gray_ramp_chroma(Copy((-20, 0, 0)))
    assert blue_less == pytest.approx(10 * math.hypot(0.564 * 0.886, 0.713 * 0.114), rel=0.01)


def test_a_restoration_that_is_not_finite_is_refused(tmp_path, monkeypatch):
    network = ResHalf(4, {"halftone": "error_diffusion"}, levels=1)
    codec = evaluation.FileCodec(ResHalfCodec(network, "cpu"), tmp_path)
    monkeypatch.setattr(network, "decode", lambda halftone: halftone.expand(-1, 3, -1, -1) * math.inf)
    with pytest.raises(UserError, match="p: .*not finite"):
        evaluation.measure_photo(codec, black_and_white(), "p", references=False, robustness=False)


def test_halftone_metrics_are_measured_against_the_luma():
    photo = np.full((24, 24, 3), (0, 255, 0), np.uint8)
    scores = evaluation.halftone_metrics(np.zeros((24, 24), np.uint8), photo)
    expected = -20 * math.log10(0.587)
    assert set(scores) == {"tone_psnr_1.5", "tone_psnr_2.0", "nasanen_psnr", "ssim_gray"}
    assert [scores[k] for k in ("tone_psnr_1.5", "tone_psnr_2.0", "nasanen_psnr")] == pytest.approx([expected] * 3)


def test_a_photo_too_small_to_measure_is_refused():
    evaluation.check_size(black_and_white(32, 32), "p")
    with pytest.raises(UserError, match=r"p: 31×48 is too small"):
        evaluation.check_size(black_and_white(48, 31), "p")
