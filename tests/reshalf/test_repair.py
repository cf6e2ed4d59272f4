"""Halftones that were changed on their way: what is certain is undone exactly, nothing else is touched."""

import cv2
import numpy as np
import pytest

from halftone.methods import METHODS
from model.pilot import pilot_wave
from reshalf import ResHalfCodec
from reshalf.repair import read_repaired, repair_halftone
from utils.errors import UserError

NO_PILOT = "carries no pilot: made by another program, or changed"


def black_and_white(white):
    return np.where(white, np.uint8(255), np.uint8(0))


def dots(pilot=0.2, height=120, width=136, seed=0):
    """Random dots of all levels, biased by the pilot."""
    level = np.linspace(-0.8, 0.8, width) + pilot * pilot_wave((height, width))
    return black_and_white(np.random.default_rng(seed).uniform(-1, 1, (height, width)) < level)


def enlarged(halftone, rows, columns):
    return halftone.repeat(rows, 0).repeat(columns, 1)


def framed(image, level, top=5, bottom=3, left=4, right=9):
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=level)


def jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)


DAMAGES = {
    "inverted": (lambda h: 255 - h, "black and white swapped"),
    "2 x 2": (lambda h: enlarged(h, 2, 2), "every pixel repeated 2 × 2 times: now"),
    "3 x 2": (lambda h: enlarged(h, 2, 3), "every pixel repeated 3 × 2 times: now"),
    "1 x 5": (lambda h: enlarged(h, 5, 1), "every pixel repeated 1 × 5 times: now"),
    "24 x 24": (lambda h: enlarged(h, 24, 24), "every pixel repeated 24 × 24 times: now"),
    "bits": (lambda h: h // 255, "levels 0 and 1 instead of 0 and 255"),
    "grays": (lambda h: np.where(h > 0, np.uint8(170), np.uint8(90)), "levels 90 and 170 instead of 0 and 255"),
    "gray border": (lambda h: framed(h, 128), "a border"),
    "2 x 2, gray border": (lambda h: framed(enlarged(h, 2, 2), 200), "a border, every pixel repeated 2 × 2 times"),
    "2 x 2, white border": (lambda h: framed(enlarged(h, 2, 2), 255), "a border, every pixel repeated 2 × 2 times"),
    "3 x 3, black border": (
        lambda h: framed(enlarged(h, 3, 3), 0, 6, 6, 6, 6),
        "a border, every pixel repeated 3 × 3 times",
    ),
    "2 x 2, cut": (lambda h: enlarged(h, 2, 2)[1:-1, 1:], "every pixel repeated 2 × 2 times"),
    "inverted bits, 3 x 3": (
        lambda h: enlarged(1 - h // 255, 3, 3),
        "levels 0 and 1 instead of 0 and 255, every pixel repeated 3 × 3 times",
    ),
    "inverted, 2 x 2, JPEG": (lambda h: jpeg(255 - enlarged(h, 2, 2)), "every pixel repeated 2 × 2 times"),
    "colour screenshot": (
        lambda h: framed(cv2.cvtColor(enlarged(h, 2, 2), cv2.COLOR_GRAY2BGR), (200, 60, 30)),
        "a border, every pixel repeated 2 × 2 times",
    ),
    "two colours": (lambda h: np.where(h[..., None] > 0, (255, 255, 255), (0, 0, 255)).astype(np.uint8), "levels 76"),
}
ORIENTATIONS = {
    "upright": lambda h: h,
    "odd crop": lambda h: h[1:, 3:],
    "mirrored": lambda h: h[:, ::-1],
    "turned": np.rot90,
    "turned and mirrored": lambda h: np.rot90(h, 3)[1:, ::-1],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_certain_damage_is_undone_exactly(damage, orientation):
    halftone = np.ascontiguousarray(ORIENTATIONS[orientation](dots()))
    change, words = DAMAGES[damage]
    repaired = repair_halftone(change(halftone), pilot=True)
    np.testing.assert_array_equal(repaired.halftone, halftone)
    assert repaired.undone.startswith(words) and not repaired.warning
    assert ("black and white swapped" in repaired.undone) == ("inverted" in damage)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if "inverted" not in name])
def test_without_a_pilot_all_but_inversion_is_undone(damage):
    change, words = DAMAGES[damage]
    repaired = repair_halftone(change(dots(pilot=0)), pilot=False)
    np.testing.assert_array_equal(repaired.halftone, dots(pilot=0))
    assert repaired.undone.startswith(words) and not repaired.warning


Y, X = np.indices((128, 128))
RANDOM = np.random.default_rng(1).random((128, 128))
UNCHANGED = {
    "a halftone": dots(),
    "a halftone as JPEG": jpeg(dots()),
    "white": black_and_white(X >= 0),
    "black": black_and_white(X < 0),
    "one dot": black_and_white((X != 50) | (Y != 31)),
    "nearly white": black_and_white(RANDOM > 0.001),
    "nearly black": black_and_white(RANDOM > 0.98),
    "two halves": black_and_white(X < 64),
    "a chessboard": black_and_white((X // 8 + Y // 8) % 2),
    "a disc": black_and_white((X - 64) ** 2 + (Y - 64) ** 2 < 2000),
    "a pixel": black_and_white(X[:1, :1] > 0),
    "a line of pixels": black_and_white(RANDOM[:1] > 0.5),
}


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("pilot", [True, False])
def test_a_true_halftone_is_left_as_it_is_without_a_word(name, pilot):
    repaired = repair_halftone(UNCHANGED[name], pilot)
    np.testing.assert_array_equal(repaired.halftone, black_and_white(UNCHANGED[name] > 127))
    assert repaired.remarks == ()


@pytest.mark.parametrize("name", ["checker 1", "checker 2", "noise"])
def test_patterns_that_resemble_an_enlargement_are_not_undone(name):
    pattern = {"checker 1": (X + Y) % 2, "checker 2": (X // 2 + Y // 2) % 2, "noise": RANDOM > 0.5}[name]
    repaired = repair_halftone(black_and_white(pattern), pilot=True)
    np.testing.assert_array_equal(repaired.halftone, black_and_white(pattern))
    assert not repaired.undone and repaired.warning.startswith(NO_PILOT)


@pytest.mark.parametrize("method", ["floyd_steinberg", "ostromoukhov", "bayer_8", "blue_noise", "clustered_45"])
def test_halftones_of_other_programs_are_reported_and_not_changed(method):
    gray = np.tile(np.linspace(40, 215, 160).astype(np.uint8), (160, 1))
    halftone = METHODS[method](gray)
    repaired = repair_halftone(halftone, pilot=True)
    np.testing.assert_array_equal(repaired.halftone, halftone)
    assert repaired.remarks == (f"{NO_PILOT}; colours may be wrong",)
    assert repair_halftone(halftone, pilot=False).remarks == ()


def test_inversion_can_be_forced():
    np.testing.assert_array_equal(repair_halftone(255 - dots(), True, invert=True).halftone, dots())
    np.testing.assert_array_equal(repair_halftone(255 - dots(0), False, invert=True).halftone, dots(0))
    wrong = repair_halftone(dots(), True, invert=True)
    np.testing.assert_array_equal(wrong.halftone, 255 - dots())
    assert "black and white were not swapped before --invert" in wrong.warning and not wrong.undone


def test_a_small_inverted_crop_gives_a_warning_where_it_is_not_certain():
    warnings = [repair_halftone(255 - dots(0.09, 64, 64, seed), True) for seed in range(20)]
    assert any("--invert swaps them" in repaired.warning for repaired in warnings)
    assert not any(repaired.undone for repaired in (repair_halftone(dots(0.09, 64, 64, n), True) for n in range(20)))


def test_a_photograph_is_refused_unless_forced(tmp_path):
    ramp = np.tile(np.arange(120, dtype=np.uint8) + 60, (90, 1))
    with pytest.raises(ValueError, match="not a halftone: .*% of the pixels are neither black nor white"):
        repair_halftone(ramp, True)
    np.testing.assert_array_equal(repair_halftone(ramp, False, force=True).halftone, black_and_white(ramp > 127))
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    with pytest.raises(UserError, match=r"a\.png: not a halftone"):
        read_repaired(tmp_path / "a.png", True)


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match="a halftone must be an image, uint8"):
        repair_halftone(array, True)


def test_what_is_no_array_is_not_an_image(proxy):
    codec = ResHalfCodec(proxy, "cpu")
    for work in (codec.halftone, codec.restore, codec.repair):
        with pytest.raises(ValueError, match="not an image but None"):
            work(cv2.imread("missing.png"))


def test_lack_of_memory_names_the_file(tmp_path, monkeypatch):
    def scarce(*_):
        raise MemoryError

    cv2.imwrite(str(tmp_path / "a.png"), dots())
    monkeypatch.setattr("reshalf.repair.detect_pilot", scarce)
    with pytest.raises(UserError, match=r"a\.png: not enough memory"):
        read_repaired(tmp_path / "a.png", True)


def test_the_codec_repairs_for_its_own_network(proxy):
    assert not ResHalfCodec(proxy, "cpu").has_pilot
    codec = ResHalfCodec(device="cpu")
    halftone = dots()
    repaired = codec.repair(enlarged(halftone == 0, 2, 2))  # bool, inverted, enlarged
    np.testing.assert_array_equal(repaired.halftone, halftone)
    assert repaired.undone == "every pixel repeated 2 × 2 times: now 136 × 120, black and white swapped"
