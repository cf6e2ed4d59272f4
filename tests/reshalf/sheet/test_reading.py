"""Simulated scans and photographs of sheets (bench/paper.py) are read, or refused with a reason."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bench.paper import PHONE, Capture
from bench.print_scan import sheet_on_page
from reshalf.sheet.header import picture_number
from reshalf.sheet.layout import MARKER
from reshalf.sheet.markers import find_markers
from reshalf.sheet.reading import read_sheets


def errors(sheet, halftone):
    return np.count_nonzero(sheet.cells.halftone != halftone)


@pytest.fixture(scope="module")
def halftone(dots):
    return dots()


@pytest.fixture(scope="module")
def scan(scanned, halftone):
    return scanned(halftone)


def test_a_scan_is_read_without_errors_and_says_what_it_is(scan, halftone):
    (sheet,), failures = read_sheets(scan)
    assert failures == [] and errors(sheet, halftone) == 0
    header = sheet.cells.header
    assert (header.width, header.height, header.cell, header.dpi, header.count) == (80, 64, 6, 600, 1)
    assert header.picture == picture_number(halftone) and sheet.corners == (0, 1, 2, 3)
    assert sheet.pilot > 8 and sheet.cells.flips < 0.002 and sheet.cells.doubtful < 0.002
    assert sheet.dot_gain is None, "too narrow for a wedge"


@pytest.mark.parametrize(
    "cell,device,most",
    [
        (4, Capture(resolution=600), 0.02),
        (4, Capture(resolution=300), 0.02),
        (4, Capture(resolution=1200), 0.02),
        (6, PHONE, 0.003),
        (5, replace(PHONE, rotation=12, perspective=15), 0.01),
    ],
)
def test_flips_stay_below_the_stated_share(scanned, dots, cell, device, most):
    halftone = dots(72, 88)
    (sheet,), _ = read_sheets(scanned(halftone, cell, device))
    assert errors(sheet, halftone) <= most * halftone.size
    assert abs(sheet.cells.flips - errors(sheet, halftone) / halftone.size) < 0.01


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_scan_may_lie_on_its_side_or_upside_down(scan, halftone, turns):
    (sheet,), _ = read_sheets(np.rot90(scan, turns))
    assert errors(sheet, halftone) == 0


def test_a_sheet_lies_askew_by_any_angle(scan, halftone):
    height, width = scan.shape[:2]
    for angle in (20, 140):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 0.7)
        turned = cv2.warpAffine(scan, turn, (width, height), flags=cv2.INTER_AREA, borderValue=(90, 120, 140))
        (sheet,), _ = read_sheets(turned)
        assert errors(sheet, halftone) <= 0.003 * halftone.size


def covered(scan, corners):
    """The scan with the given markers painted over, found as the reader does."""
    hidden = scan.copy()
    for marker in find_markers(cv2.cvtColor(scan, cv2.COLOR_BGR2GRAY)):
        if marker.corner in corners:
            cv2.fillPoly(hidden, [np.rint(marker.points).astype(np.int32)], (200, 210, 215))
    return hidden


@pytest.mark.parametrize("corner", range(4))
def test_three_of_the_four_markers_suffice(scan, halftone, corner):
    (sheet,), failures = read_sheets(covered(scan, [corner]))
    assert errors(sheet, halftone) == 0 and corner not in sheet.corners and failures == []


def test_two_markers_do_not_suffice_and_the_reason_names_them(scan):
    reading = read_sheets(covered(scan, [0, 2]))
    assert reading.sheets == []
    assert reading.failures == [
        "markers found: bottom left, top right; three of one sheet are needed, whole and in focus"
    ]


def test_two_sheets_in_one_scan_are_both_read(scan, halftone, scanned, dots):
    other = dots(seed=1)
    both = np.concatenate([scan, scanned(other, seed=1)[::-1, ::-1][: len(scan)]], axis=1)
    reading = read_sheets(both)
    assert [errors(sheet, picture) for sheet, picture in zip(reading.sheets, (halftone, other), strict=True)] == [0, 0]


def test_a_picture_that_is_cut_at_the_edge_is_refused(dots):
    """A corner of the sheet is cut off, with its marker; the other three are there."""
    halftone = dots(160, 160)
    page = sheet_on_page(halftone, 4)
    turn = cv2.getRotationMatrix2D((page.shape[1] / 2, page.shape[0] / 2), 45, 1.0)
    turn[:, 2] += 300
    whole = cv2.warpAffine(page, turn, (1500, 1500), flags=cv2.INTER_AREA, borderValue=255)
    edge = np.flatnonzero((whole == 0).any(axis=0))[-1]
    (sheet,), _ = read_sheets(whole[:, : edge - 115])
    assert errors(sheet, halftone) == 0 and len(sheet.corners) == 3
    reading = read_sheets(whole[:, : edge - 300])
    assert reading == ([], ["cut off: 5% of the picture lies outside the scan"])


def test_other_images_are_no_sheets(dots):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    for image in (noise, np.full((200, 100, 3), 255, np.uint8), dots(300, 300), np.zeros((1, 1, 3), np.uint8)):
        assert read_sheets(image) == (
            [],
            ["no markers of a sheet found: not a scan of a sheet, or too coarse, blurred or dark"],
        )


def test_a_scan_that_is_too_coarse_is_refused(scanned, dots):
    reading = read_sheets(scanned(dots(), 4, Capture(resolution=200)))
    assert reading.sheets == [] and "too coarse: 1.3 pixels of the scan per pixel of the picture" in reading.failures[0]


def test_a_picture_replaced_by_another_is_noticed_by_its_known_cells(scan):
    """Markers of one sheet around something else."""
    points = np.concatenate([m.points for m in find_markers(cv2.cvtColor(scan, cv2.COLOR_BGR2GRAY))])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    band = int(1.1 * (right - left) * MARKER / 88)
    other = scan.copy()
    region = other[int(top) + band : int(bottom) - band, int(left) : int(right)]
    region[:] = np.random.default_rng(0).integers(0, 256, region.shape)
    reading = read_sheets(other)
    assert reading.sheets == []
    assert "its pixels cannot be made out" in reading.failures[0]


def test_the_wedge_measures_the_dot_gain(scanned, dots):
    halftone = dots(32, 160)
    page = sheet_on_page(halftone, 4)
    (clean,), _ = read_sheets(np.ascontiguousarray(page))
    assert errors(clean, halftone) == 0 and abs(clean.dot_gain) < 0.02
    (printed,), _ = read_sheets(scanned(halftone, 4))
    assert 0.1 < printed.dot_gain < 0.4
