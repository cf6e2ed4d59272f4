"""Halftones that were scaled, turned or cut out are recovered from their own grid; all else goes on as before."""

import cv2
import numpy as np
import pytest

from halftone.methods import METHODS
from images.files import write_image
from model.pilot import pilot_wave
from reshalf import SHIPPED
from reshalf.regrid import regrid
from reshalf.repair import repair_halftone

SIDE = 128


def dots(height=SIDE, width=SIDE, seed=0):
    """Random dots of all levels with a pilot, and a patch of colour on a carrier: (H, W) uint8 in {0, 255}."""
    level = np.linspace(-0.7, 0.7, width) + 0.3 * pilot_wave((height, width))
    level[20:60, 30:70] += 0.4 * (-1.0) ** np.add.outer(np.arange(40), np.arange(40))
    return np.where(np.random.default_rng(seed).uniform(-1, 1, (height, width)) < level, np.uint8(255), np.uint8(0))


HALFTONE = dots()


def scaled(image, across, down, interpolation):
    size = round(image.shape[1] * across), round(image.shape[0] * down)
    return cv2.resize(image, size, interpolation=interpolation)


def turned(image, angle, scale=1.0, border=0):
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, scale)
    matrix[:, 2] += (220 * scale - SIDE) / 2
    size = round(220 * scale)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=border)


def jpeg(image, quality=75):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def page(image):
    """A screenshot with the image at row 40, column 90, beside text and a gradient."""
    screen = np.full((image.shape[0] + 80, image.shape[1] + 120), 235, np.uint8)
    screen[30:, 10:70] = np.linspace(60, 180, screen.shape[0] - 30)[:, None]
    cv2.putText(screen, "text above the picture", (8, 20), 0, 0.5, 20, 1, cv2.LINE_AA)
    screen[40 : 40 + image.shape[0], 90 : 90 + image.shape[1]] = image
    return screen


def wrong_share(found):
    """Share of wrong pixels of the best shift by a few pixels; 1 where less than 90 % of the halftone is found."""
    sides = [min(a, b) for a, b in zip(found.shape, HALFTONE.shape, strict=True)]
    if min(sides) < 0.9 * SIDE or max(found.shape) > 1.1 * SIDE:
        return 1.0
    core = HALFTONE[12:-12, 12:-12]
    shares = [
        np.mean(found[y : y + core.shape[0], x : x + core.shape[1]] != core)
        for y in range(found.shape[0] - core.shape[0] + 1)
        for x in range(found.shape[1] - core.shape[1] + 1)
    ]
    return min(shares)


CHANGES = {
    "1.37 bilinear": (lambda h: scaled(h, 1.37, 1.37, cv2.INTER_LINEAR), 0),
    "1.6 nearest": (lambda h: scaled(h, 1.6, 1.6, cv2.INTER_NEAREST), 0),
    "2 bicubic": (lambda h: scaled(h, 2, 2, cv2.INTER_CUBIC), 0),
    "1.2 x 2.7 area": (lambda h: scaled(h, 1.2, 2.7, cv2.INTER_AREA), 0),
    "6 x 5.7 bilinear": (lambda h: scaled(h, 6, 5.7, cv2.INTER_LINEAR), 0),
    "0.9 bilinear": (lambda h: scaled(h, 0.9, 0.9, cv2.INTER_LINEAR), 0.06),
    "turned by 7": (lambda h: turned(h, 7), 0.005),
    "turned by -33, 1.5": (lambda h: turned(h, -33, 1.5, 255), 0),
    "turned by 12, JPEG": (lambda h: jpeg(turned(h, 12, 1.3)), 0.005),
    "1.37 JPEG 50": (lambda h: jpeg(scaled(h, 1.37, 1.37, cv2.INTER_LINEAR), 50), 0.002),
    "screenshot": (page, 0),
    "screenshot, 1.6": (lambda h: page(scaled(h, 1.6, 1.6, cv2.INTER_LINEAR)), 0),
    "faint": (lambda h: scaled(h // 3 + 90, 1.37, 1.37, cv2.INTER_LINEAR), 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_resampled_halftone_is_recovered_from_its_grid(change):
    function, tolerated = CHANGES[change]
    repaired = repair_halftone(function(HALFTONE), pilot=True)
    assert wrong_share(repaired.halftone) <= tolerated
    assert repaired.undone and "pilot" not in repaired.warning


def test_scale_angle_and_place_are_reported():
    image = scaled(HALFTONE, 1.5, 2.5, cv2.INTER_LINEAR)
    found = regrid(image)
    np.testing.assert_array_equal(found.halftone, HALFTONE)
    np.testing.assert_allclose(found.scales, (1.5, 2.5), atol=2e-3)
    np.testing.assert_allclose(found.origin, (0.25, 0.75), atol=0.1)
    assert abs(found.angle) < 0.05 and found.doubtful == 0
    assert regrid(turned(HALFTONE, 10)).angle == pytest.approx(-10, abs=0.05)  # OpenCV turns counterclockwise
    assert repair_halftone(image, True).undone == "scaled by 1.5 × 2.5: now 128 × 128"
    assert repair_halftone(turned(HALFTONE, 10), True).undone.startswith("turned by -10.0°: now ")


def test_an_inverted_enlargement_is_turned_back():
    repaired = repair_halftone(scaled(255 - HALFTONE, 1.37, 1.37, cv2.INTER_LINEAR), True)
    np.testing.assert_array_equal(repaired.halftone, HALFTONE)
    assert repaired.undone == "scaled by 1.37 × 1.37: now 128 × 128, black and white swapped"


def test_pixels_lost_in_a_reduction_are_reported():
    repaired = repair_halftone(scaled(HALFTONE, 0.95, 0.95, cv2.INTER_NEAREST), True)
    assert repaired.undone.startswith("scaled by 0.") and repaired.warning.endswith("% of its pixels are uncertain")


def photograph(height=120, width=136):
    noise = np.random.default_rng(2).integers(0, 256, (height // 8, width // 8)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("scale", [1, 1.5])
@pytest.mark.parametrize("method", ["floyd_steinberg", "bayer_8", "clustered_45"])
def test_halftones_of_other_programs_have_no_grid(method, scale):
    assert regrid(scaled(METHODS[method](photograph()), scale, scale, cv2.INTER_LINEAR)) is None


NO_HALFTONES = {
    "a photograph": photograph(),
    "uniform": np.full((90, 90), 77, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (150, 170)).astype(np.uint8),
    "small": np.zeros((5, 300), np.uint8),
    "a pixel": np.zeros((1, 1), np.uint8),
    "stripes": np.tile(np.uint8([0, 80, 255, 160, 40]), (120, 30)),
}


@pytest.mark.parametrize("name", NO_HALFTONES)
def test_other_images_have_no_grid(name):
    assert regrid(NO_HALFTONES[name]) is None


def test_a_halftone_that_is_as_it_was_made_is_not_searched(monkeypatch):
    monkeypatch.setattr("reshalf.repair.regrid", None)  # calling it would fail
    for same in (HALFTONE, 255 - HALFTONE, HALFTONE[1:, 3:], HALFTONE.repeat(2, 0).repeat(2, 1), jpeg(HALFTONE, 95)):
        repair_halftone(same, pilot=True)
    repair_halftone(METHODS["floyd_steinberg"](photograph()), pilot=False)


def test_the_command_restores_a_scaled_halftone(run, tmp_path, capsys):
    halftones, out = tmp_path / "halftones", tmp_path / "out"
    halftones.mkdir()
    write_image(halftones / "a.png", HALFTONE)
    write_image(halftones / "large.png", scaled(HALFTONE, 1.7, 1.7, cv2.INTER_CUBIC))
    write_image(halftones / "photograph.png", photograph())
    assert run(SHIPPED, halftones, out, "--decoding") == 3
    restored = [cv2.imread(str(out / f"restored/{name}.png")) for name in ("a", "large")]
    np.testing.assert_array_equal(*restored)
    lines = capsys.readouterr().err
    assert f"{halftones / 'large.png'}: found and undone: scaled by 1.7 × 1.7: now 128 × 128" in lines
    assert f"{halftones / 'photograph.png'}: not a halftone: " in lines
