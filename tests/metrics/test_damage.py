"""Damage to halftones: flips, crops, turns and conversions of the file format."""

import numpy as np
import pytest

from metrics.damage import CROPS, FLIPS, damages, file_round_trip, flip_pixels

RANDOM = np.random.default_rng(5)
HALFTONE = np.where(RANDOM.random((60, 70)) < 0.3, 255, 0).astype(np.uint8)
PHOTO = RANDOM.integers(0, 256, (60, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize("share", FLIPS)
def test_flips_invert_exactly_the_given_share(share):
    flipped = flip_pixels(HALFTONE, share, seed=4)
    assert (flipped != HALFTONE).sum() == round(share * HALFTONE.size)
    assert set(np.unique(flipped)) == {0, 255}
    assert np.array_equal(flipped, flip_pixels(HALFTONE, share, seed=4))


def test_flips_depend_on_the_seed():
    assert not np.array_equal(flip_pixels(HALFTONE, 0.05, 1), flip_pixels(HALFTONE, 0.05, 2))


def test_a_png_round_trip_is_exact_and_a_jpeg_95_round_trip_nearly_so():
    assert np.array_equal(file_round_trip(HALFTONE, ".png"), HALFTONE)
    returned = file_round_trip(HALFTONE, ".jpg", 95)
    assert set(np.unique(returned)) == {0, 255} and (returned != HALFTONE).mean() < 0.001
    rough = file_round_trip(HALFTONE, ".jpg", 5)
    assert (rough != HALFTONE).mean() > 0.01


def test_every_damaged_halftone_comes_with_the_matching_part_of_its_photo():
    found = {name: (halftone, photo) for name, halftone, photo in damages(HALFTONE, PHOTO)}
    assert len(found) == len(FLIPS) + len(CROPS) + 4
    assert np.array_equal(found["flip 0%"][0], HALFTONE)
    assert all(np.array_equal(at[:, ::-1], of) for at, of in zip(found["mirror"], (HALFTONE, PHOTO), strict=True))
    assert all(
        np.array_equal(np.rot90(at, 3), of) for at, of in zip(found["quarter turn"], (HALFTONE, PHOTO), strict=True)
    )
    for (rows, columns), name in zip(CROPS, ("crop 8,8", "crop 1,0", "crop 0,1", "crop 1,1"), strict=True):
        halftone, photo = found[name]
        assert np.array_equal(halftone, HALFTONE[rows:, columns:]) and np.array_equal(photo, PHOTO[rows:, columns:])
