"""Scans of pages: screened pictures are found and restored, text and line art stay as they are."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from descreen import rescreen, restore
from descreen.config import ScreensConfig
from descreen.engine import baseline_restorer
from descreen.pages import PARAGRAPH, draw_page
from descreen.regions import coverage, find_regions, overlay
from descreen.votes import FM
from halftone.screens import STANDARD_ANGLES, am_cmyk
from halftone.variable_diffusion import ostromoukhov
from images.files import read_image, write_image
from metrics.quality import psnr

SCREENS = ScreensConfig(line=0.0, fm=0.0, gray=0.0, clean=0.0, flawed=0.0, pitch_min=3.0, pitch_max=5.5)


@pytest.fixture(scope="module")
def photos():
    return [cv2.resize(read_image(f"test_imgs/{name}.jpg").bgr, (360, 300)) for name in ("coffee", "flower")]


@pytest.fixture(scope="module")
def page(photos):
    """Two pictures with different screens, text and tables."""
    found = draw_page(photos, (720, 640), SCREENS, np.random.default_rng(3))
    assert len(found.pictures) == 2
    return found


@pytest.fixture(scope="module")
def text():
    """Text, tables and hatchings in several fonts and sizes, without pictures."""
    return draw_page([], (960, 800), SCREENS, np.random.default_rng(0)).scan


def test_each_picture_of_a_page_is_a_region_with_its_own_screen(page):
    regions = find_regions(page.scan)
    pitches = [{round(screen.pitch, 1) for screen in region.screens.values()} for region in regions]
    assert len(regions) == 2 and all(len(each) <= 2 for each in pitches) and not pitches[0] & pitches[1]
    mask, pictures = coverage(regions, page.scan.shape[:2]) > 127, np.zeros(page.scan.shape[:2], bool)
    for cell in page.pictures:
        pictures[cell] = True
    assert mask[pictures].mean() > 0.97 and mask[~pictures].mean() < 0.12  # the border beyond the dots included


def test_pictures_are_restored_and_the_rest_of_the_page_is_unchanged(page):
    restored = baseline_restorer("gaussian", 1.0, "disc")(page.scan, find_regions(page.scan))
    away = np.ones(page.scan.shape[:2], np.uint8)
    for rows, columns in page.pictures:
        away[max(rows.start - 32, 0) : rows.stop + 32, max(columns.start - 32, 0) : columns.stop + 32] = 0
    assert away.mean() > 0.25
    assert np.array_equal(restored[away > 0], page.scan[away > 0])
    for cell in page.pictures:
        assert psnr(page.truth[cell], restored[cell]) > psnr(page.truth[cell], page.scan[cell]) + 5


def test_a_page_without_screens_comes_back_as_it_was(text, tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    write_image(tmp_path / "scans/text.png", text)
    assert restore.main(["--data_dir", str(tmp_path / "scans"), "--save_dir", str(tmp_path / "out")]) == 0
    assert "no screen: unchanged" in capsys.readouterr().out
    assert np.array_equal(read_image(tmp_path / "out/restored/text.png").bgr, text)


def test_rows_of_a_table_are_neither_a_dot_nor_a_line_screen():
    for seed in (3, 213):  # in both a table repeats along the axes, at 2.7 and 1.9 pixels
        assert find_regions(draw_page([], (1000, 800), SCREENS, np.random.default_rng(seed)).scan) == []


@pytest.mark.parametrize("angles", [STANDARD_ANGLES, dict.fromkeys(STANDARD_ANGLES, 30.0)], ids=["four", "one"])
def test_a_picture_with_a_line_screen_is_found_beside_text_and_hatchings(photos, text, angles):
    page = text.copy()
    picture = am_cmyk(photos[1], pitch=4.7, spot="line", angles=angles, supersample=3)
    page[200 : 200 + picture.shape[0], 150 : 150 + picture.shape[1]] = picture
    (region,) = find_regions(page)
    assert all(screen.is_line and abs(screen.pitch - 4.7) < 0.1 for screen in region.screens.values())
    mask, inside = coverage([region], page.shape[:2]) > 127, np.zeros(page.shape[:2], bool)
    inside[200 : 200 + picture.shape[0], 150 : 150 + picture.shape[1]] = True
    assert mask[inside].mean() > 0.9 and mask[~inside].mean() < 0.05


@pytest.mark.parametrize("step", [3.0, 4.5, 7.0])
def test_hatchings_are_not_a_screen(step):
    x = np.arange(300)
    patch = np.where((x % step) < 1, 0, 255).astype(np.uint8) * np.ones((150, 1), np.uint8)
    drawing = np.full((600, 700, 3), 255, np.uint8)
    drawing[40:190, 40:340] = patch[..., None]
    drawing[250:550, 400:550] = patch.T[..., None]
    cv2.circle(drawing, (200, 400), 120, (0, 0, 0), 2, cv2.LINE_AA)
    assert find_regions(drawing) == []


def test_a_scan_of_one_picture_is_restored_as_a_whole(photos):
    screened = am_cmyk(photos[0], pitch=4.3, supersample=3)
    (region,) = find_regions(screened)
    assert region.mask.shape == screened.shape[:2] and region.mask.min() == 255
    line = am_cmyk(photos[1], pitch=5.0, spot="line", supersample=3)
    (region,) = find_regions(line)
    assert region.mask.min() == 255 and all(screen.is_line for screen in region.screens.values())


def test_a_picture_with_large_dots_is_a_region(text, photos):
    page = text.copy()
    page[:600, :720] = am_cmyk(cv2.resize(photos[0], (720, 600)), pitch=9.0, supersample=3)
    (region,) = find_regions(page)
    assert coverage([region], page.shape[:2])[:600, :720].mean() > 240
    assert next(iter(region.screens.values())).pitch == pytest.approx(9, rel=0.03)


def test_an_fm_halftone_beside_text_is_a_region(text, photos):
    page, gray = text.copy(), cv2.cvtColor(cv2.resize(photos[0], (400, 400)), cv2.COLOR_BGR2GRAY)
    page[300:700, 200:600] = ostromoukhov(gray)[..., None]
    page[280:720, 180:200] = page[280:720, 600:620] = page[280:300, 180:620] = page[700:720, 180:620] = 255
    (region,) = find_regions(page)
    assert region.screens == {} and coverage([region], page.shape[:2])[340:660, 240:560].min() == 255
    alone = np.repeat(ostromoukhov(gray)[..., None], 3, axis=2)
    assert find_regions(alone)[0].mask.shape == alone.shape[:2]
    assert FM < 1.6  # below all pitches


def test_a_photograph_of_a_texture_is_no_fm_halftone():
    random = np.random.default_rng(0)
    speckles = np.zeros((384, 384), np.float32)  # grains of all sizes and contrasts
    for sigma in (0.5, 0.7, 1.0, 1.5):
        grains = random.standard_normal(speckles.shape).astype(np.float32) * random.random(speckles.shape) ** 6
        grains = cv2.GaussianBlur(grains, (0, 0), sigma)
        speckles += 12 * grains / grains.std()
    gray = np.clip(128 + speckles, 0, 255).astype(np.uint8)
    assert find_regions(np.repeat(gray[..., None], 3, axis=2)) == []
    blurred = cv2.GaussianBlur(ostromoukhov(gray), (0, 0), 0.5)
    (region,) = find_regions(np.repeat(blurred[..., None], 3, axis=2))
    assert region.screens == {} and region.mask.min() == 255


@pytest.mark.parametrize("size", [5, 7, 9])
def test_small_print_is_no_fm_halftone(size):
    scale = 4
    canvas = Image.new("L", (512 * scale, 512 * scale), 235)
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSerif.ttf")), size * scale)
    words = np.random.default_rng(0).permutation((PARAGRAPH * 60).split()).tolist()
    for line in range(0, 512, size + 2):
        drawn = " ".join(words[line % 97 :])[:240]
        ImageDraw.Draw(canvas).text((-line, line * scale), drawn, 40, font, stroke_width=scale // 4)
    small = cv2.resize(np.array(canvas), (512, 512), interpolation=cv2.INTER_AREA)
    sharp = cv2.addWeighted(small, 2, cv2.GaussianBlur(small, (0, 0), 1), -1, 0)
    for scan in (small, sharp):
        assert find_regions(cv2.cvtColor(scan, cv2.COLOR_GRAY2BGR)) == []


@pytest.mark.parametrize("distance", [9, 24])
def test_rules_are_no_line_screen(distance):
    scan, random = np.full((640, 640), 255, np.uint8), np.random.default_rng(0)
    for at in range(20, 620, distance):
        scan[at : at + 3, 16:-16] = 0
        for row in (at - 1, at + 3):  # ragged edges of a bilevel scan at half the resolution
            scan[row, 16:-16][np.repeat(random.random(304) < 0.5, 2)] = 0
    assert find_regions(cv2.cvtColor(scan, cv2.COLOR_GRAY2BGR)) == []


def test_faint_dots_of_bright_sky_belong_to_the_picture(text):
    sky = np.full((600, 420, 3), 120, np.uint8)
    sky[:160] = 247, 238, 226
    page = text.copy()
    page[:640, :460] = 255
    page[20:620, 20:440] = am_cmyk(sky, pitch=4.2, supersample=3)
    mask = coverage(find_regions(page), page.shape[:2])
    assert mask[52:600, 40:420].min() == 255
    assert mask[:, 480:].max() == 0


def test_text_in_the_corner_between_two_pictures_of_one_screen_is_no_picture(text, photos):
    page = np.full_like(text, 255)
    screened = am_cmyk(cv2.resize(photos[0], (400, 480)), pitch=4.2, supersample=3)
    page[:480, :400] = page[480:, 400:] = screened
    page[40:440, 420:780] = text[40:440, 420:780]
    mask = coverage(find_regions(page), page.shape[:2])
    assert mask[:470, :390].min() == mask[490:, 410:].min() == 255
    assert mask[40:440, 440:780].max() == 0


def test_a_page_is_rescreened_in_its_pictures_only(page, tmp_path):
    (tmp_path / "scans").mkdir()
    write_image(tmp_path / "scans/page.png", page.scan)
    out = tmp_path / "out"
    options = ["--method", "gaussian", "--pitch", "auto"]
    assert rescreen.main(["--data_dir", str(tmp_path / "scans"), "--save_dir", str(out), *options]) == 0
    screened = read_image(out / "screened/page.png").bgr
    found, before = find_regions(screened), find_regions(page.scan)
    assert len(found) == len(before) == 2
    for new, old in zip(found, before, strict=True):
        pitches = [np.median([screen.pitch for screen in each.screens.values()]) for each in (new, old)]
        assert pitches[0] == pytest.approx(pitches[1], rel=0.03)
    outside = coverage(before, screened.shape[:2]) == 0
    assert np.array_equal(screened[outside], page.scan[outside])


def test_the_overlay_tints_what_is_not_restored(page):
    regions = find_regions(page.scan)
    tinted = (overlay(page.scan, regions) != page.scan).any(axis=2)
    assert np.array_equal(tinted, coverage(regions, page.scan.shape[:2]) <= 127)


def test_blank_and_tiny_scans_have_no_regions():
    for size in ((20, 30), (128, 128), (300, 500)):
        assert find_regions(np.full((*size, 3), 250, np.uint8)) == []
