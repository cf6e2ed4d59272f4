"""What a sheet says about itself, and the pages as they are printed."""

import hashlib
import io
import re
import struct
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from reshalf.sheet.header import LARGEST, SYMBOLS, Header, marker_ids, pack_header, size_of, unpack_header
from reshalf.sheet.layout import Layout
from reshalf.sheet.page import MARGIN, PAPERS, PageFormat, draw_pages, shrink_to_sheet, split_picture, write_pdf
from utils.errors import UserError

HEADER = Header(1, 2, 3, 4, 51966, 6, 600, 1000, 701)


def symbols(width, height):
    return dict(divmod(number, SYMBOLS) for number in marker_ids(width, height))


@pytest.mark.parametrize("size", [(1, 1), (80, 64), (736, 952), (LARGEST, LARGEST), (1, LARGEST)])
def test_any_three_markers_give_the_size_and_the_fourth_confirms_it(size):
    all_four = symbols(*size)
    assert list(all_four) == [0, 1, 2, 3] and size_of(all_four) == size
    for three in combinations(all_four.items(), 3):
        assert size_of(dict(three)) == size
    for two in combinations(all_four.items(), 2):
        assert size_of(dict(two)) is None
    assert size_of(all_four | {2: (all_four[2] + 1) % SYMBOLS}) is None


def test_a_header_survives_and_a_changed_bit_is_noticed():
    bits = pack_header(HEADER)
    assert unpack_header(bits) == HEADER
    for place in range(len(bits)):
        changed = bits.copy()
        changed[place] ^= True
        assert unpack_header(changed) is None


def test_sheets_printed_today_stay_readable():
    """The layout is a format: another ring or other markers make prints on paper unreadable."""
    cells = Layout(160, 40).cells(np.zeros((40, 160), np.uint8), pack_header(HEADER))
    assert hashlib.sha256(np.packbits(cells > 0)).hexdigest()[:16] == "6e96e3b63eff8ccd"


@pytest.mark.parametrize("cell,dpi,paper", [(6, 300, "a4"), (5, 360, "letter")])
def test_a_page_holds_every_cell_as_a_square_of_dots_within_its_margins(dots, cell, dpi, paper):
    halftone = dots(48, 96)
    split = split_picture(96, 48, paper, dpi, cell)
    (page,) = draw_pages(halftone, split, "a name that is much too long for a line of the caption " * 4)
    assert page.shape[::-1] == tuple(round(side / 25.4 * dpi) for side in PAPERS[paper])
    frame = Layout(96, 48)
    top, left = split.page.dots(MARGIN), (page.shape[1] - (frame.frame[3] - frame.frame[1]) * cell) // 2
    y, x = top - frame.frame[0] * cell, left - frame.frame[1] * cell
    picture = page[y : y + 48 * cell, x : x + 96 * cell].reshape(48, cell, 96, cell)
    assert (picture == halftone[:, None, :, None]).all()
    margin = split.page.dots(MARGIN)
    assert (page[:margin] == 255).all() and (page[-margin:] == 255).all()
    assert (page[:, :margin] == 255).all() and (page[:, -margin:] == 255).all()
    below = page[top + (frame.frame[2] - frame.frame[0]) * cell :]
    assert (below == 0).any(), "the caption"


def test_the_largest_picture_of_a_page_leaves_the_margins_white(dots):
    for landscape in (False, True):
        width, height = PageFormat("a4", 150, 4, landscape).capacity
        split = split_picture(width, height, "a4", 150, 4)
        assert split.page.landscape == landscape
        (page,) = draw_pages(dots(height, width), split, "large")
        margin = split.page.dots(MARGIN)
        inside = page[margin:-margin, margin:-margin]
        assert np.count_nonzero(page == 0) == np.count_nonzero(inside == 0)


@pytest.mark.parametrize("size", [(100, 80), (737, 952), (1000, 500), (953, 953), (2000, 1500), (745, 1905)])
def test_large_pictures_are_divided_without_loss_at_multiples_of_the_pilot(size):
    width, height = size
    split = split_picture(width, height, "a4", 600, 6)
    covered = np.zeros((height, width), int)
    for _, _, rows, columns in split.parts():
        covered[rows, columns] += 1
        assert rows.start % 8 == 0 and columns.start % 8 == 0
        assert 0 < columns.stop - columns.start <= split.page.capacity[0]
        assert 0 < rows.stop - rows.start <= split.page.capacity[1]
    assert (covered == 1).all()


def test_the_page_is_turned_where_that_saves_sheets():
    turned = {size: split_picture(*size, "a4", 600, 6) for size in ((700, 900), (900, 500), (500, 500))}
    assert [split.page.landscape for split in turned.values()] == [False, True, False]
    assert all(split.rows * split.columns == 1 for split in turned.values())


def test_too_many_sheets_and_too_large_cells_are_refused(dots):
    with pytest.raises(ValueError, match="70000 × 8 pixels, allowed on sheets: 65535 a side"):
        split_picture(70000, 8, "a4", 1200, 2)
    with pytest.raises(ValueError, match="needs 308 sheets, allowed: 64; --one_sheet shrinks it"):
        split_picture(10000, 20000, "a4", 600, 6)
    with pytest.raises(UserError, match="--cell 60: too large for a4 at 600 dpi"):
        PageFormat("a4", 600, 60).check()


def test_a_shrunk_photograph_fits_on_one_sheet_and_a_small_one_is_kept():
    for size in ((3000, 2000, 3), (2000, 3000, 3)):
        small = shrink_to_sheet(np.zeros(size, np.uint8), "letter", 600, 6)
        split = split_picture(small.shape[1], small.shape[0], "letter", 600, 6)
        assert split.rows * split.columns == 1 and max(small.shape) >= 872
    photo = np.zeros((50, 60, 3), np.uint8)
    assert shrink_to_sheet(photo, "letter", 600, 6) is photo


def test_the_pdf_holds_every_dot_at_the_exact_size(tmp_path):
    pages = [np.random.default_rng(seed).random((120, 201)) > 0.5 for seed in range(2)]
    write_pdf(tmp_path / "sheet.pdf", pages, 600)
    data = (tmp_path / "sheet.pdf").read_bytes()
    boxes = re.findall(rb"/MediaBox \[ ([^\]]*)\]", data)
    assert [list(map(float, box.split())) for box in boxes] == [pytest.approx([0, 0, 201 * 0.12, 120 * 0.12])] * 2
    images = re.findall(rb"/CCITTFaxDecode.*?/Length (\d+)\s*>>\s*stream\r?\n", data, re.DOTALL)
    starts = [found.end() for found in re.finditer(rb"/CCITTFaxDecode.*?stream\r?\n", data, re.DOTALL)]
    for page, length, start in zip(pages, map(int, images), starts, strict=True):
        np.testing.assert_array_equal(fax_decoded(data[start : start + length], page.shape), page)


def fax_decoded(stream, shape):
    """The image of a Group 4 stream, decoded as a TIFF file around it."""
    tags = [
        (256, shape[1]),
        (257, shape[0]),
        (258, 1),
        (259, 4),
        (262, 1),
        (273, 122),
        (278, shape[0]),
        (279, len(stream)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return np.asarray(Image.open(io.BytesIO(header.ljust(122, b"\0") + stream)))
