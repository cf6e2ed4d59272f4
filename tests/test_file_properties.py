"""Formats × pixel modes × transparency × resolution × orientation: generated files through the commands.

Every file stores the same bars, black on white or on transparent pixels with black underneath, in whole 8×8 blocks, so
that lossy formats keep them as well. Every halftone of it is then these bars.
"""

import itertools

import numpy as np
import pytest
from PIL import Image

from halftone.__main__ import main as halftone
from images.files import read_image, read_levels

WHITE = np.kron([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 0]], np.ones((8, 8))).astype(bool)
"""The bars, (24, 32); all eight orientations differ."""
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""The transposition with which a file of each EXIF orientation stores an upright image."""
OPAQUE, TRANSPARENT = ("1", "L", "P", "RGB"), ("LA", "RGBA", "P key", "L key", "RGB key")
KINDS = {  # suffix: modes, and whether EXIF and a resolution are stored
    "png": ((*OPAQUE, *TRANSPARENT, "I;16"), True, True),
    "tif": ((*OPAQUE, "LA", "RGBA", "CMYK", "I;16"), True, True),
    "jpg": (("L", "RGB", "CMYK"), True, True),
    "webp": (("RGB", "RGBA"), True, False),
    "bmp": (OPAQUE, False, True),
    "gif": (("L", "P", "P key"), False, False),
    "ppm": (("RGB",), False, False),
    "pgm": (("L",), False, False),
    "pbm": (("1",), False, False),
    "tga": (("L", "RGB", "RGBA"), False, False),
}


def image_of(mode):
    """The bars in a mode, and the options of saving it."""
    black, white = Image.fromarray(np.where(WHITE, np.uint8(0), np.uint8(255))), Image.fromarray(WHITE).convert("L")
    nothing = Image.new("L", white.size)
    if mode == "I;16":
        return Image.fromarray(WHITE.astype(np.uint16) * 65535), {}
    if mode in ("LA", "RGBA"):  # black everywhere, transparent beside the bars
        return Image.merge(mode, [nothing] * (len(mode) - 1) + [black]), {}
    if mode == "P key":
        image = Image.fromarray((WHITE * 2).astype(np.uint8))
        image.putpalette([0, 0, 0, 9, 9, 9, 0, 0, 0])
        return image, {"transparency": 2}
    if mode.endswith(" key"):
        level = Image.fromarray(np.where(WHITE, np.uint8(3), np.uint8(0)))
        return level.convert(mode[:-4]), {"transparency": 3 if mode == "L key" else (3, 3, 3)}
    return white.convert(mode), {}


def save(path, suffix, mode, resolution, orientation):
    image, options = image_of(mode)
    exif = Image.Exif()
    if STORED[orientation] is not None:
        image = image.transpose(STORED[orientation])
        exif[274] = orientation
    if resolution:
        stored = resolution[::-1] if orientation > 4 else resolution
        if KINDS[suffix][2]:
            options["dpi"] = stored
        else:
            exif.update({282: float(stored[0]), 283: float(stored[1]), 296: 2})
    if len(exif):
        options["exif"] = exif
    lossless = {"jpg": {"quality": 95}, "webp": {"lossless": True, "exact": True}}
    image.save(path, **options, **lossless.get(suffix, {}))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of all combinations, with the resolution and transparency of each by name."""
    folder, about = tmp_path_factory.mktemp("combinations"), {}
    for suffix, (modes, with_exif, with_dpi) in KINDS.items():
        resolutions = (None, (300, 150), (72, 72)) if with_exif or with_dpi else (None,)
        for mode, resolution, orientation in itertools.product(modes, resolutions, STORED if with_exif else (1,)):
            name = f"{suffix}-{mode.replace(';', '')}-{resolution and resolution[1]}-{orientation}.{suffix}"
            save(folder / name, suffix, mode, resolution, orientation)
            if suffix == "bmp" and not resolution:
                resolution = (96, 96)  # Pillow's default
            about[name] = resolution, mode in TRANSPARENT
    return folder, about


def test_every_combination_is_halftoned_as_it_is_shown(files, tmp_path, capsys):
    folder, about = files
    assert len(about) > 400
    assert halftone(["--method", "bayer_2", "--halftone_format", "tif", str(folder), str(tmp_path)]) == 0
    assert "warning" not in capsys.readouterr().err
    made = {path.stem: path for path in tmp_path.iterdir()}
    assert set(made) == {name[: name.rindex(".")] for name in about}
    for name, (resolution, _) in about.items():
        found = read_levels(made[name[: name.rindex(".")]])
        np.testing.assert_array_equal(found.colour == 255, WHITE, err_msg=name)
        assert found.resolution == (resolution and pytest.approx(resolution, abs=0.02)), name


def test_a_sample_of_them_is_halftoned_and_restored(files, run, checkpoint, tmp_path):
    folder, about = files
    sample = sorted(np.random.default_rng(0).choice(sorted(about), 60, replace=False))
    (tmp_path / "in").mkdir()
    for name in sample:
        (tmp_path / "in" / name).symlink_to(folder / name)
    assert run(checkpoint, tmp_path / "in", tmp_path / "out", "--fast") == 0
    for name in sample:
        resolution, transparent = about[name]
        stem = name[: name.rindex(".")]
        dots, restored = (
            read_levels(tmp_path / f"out/halftone/{stem}.png"),
            read_image(tmp_path / f"out/restored/{stem}.png"),
        )
        assert np.mean((dots.colour == 255) == WHITE) > 0.9, name
        expected = resolution and pytest.approx(resolution, abs=0.02)
        assert dots.resolution == restored.resolution == expected, name
        assert (restored.alpha is not None) == transparent, name
        assert not transparent or np.array_equal(restored.alpha == 0, WHITE), name
