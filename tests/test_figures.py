"""README's pictures, and what README and its neighbours point at."""

import re
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np

from figures import make
from images.files import read_halftone, read_image
from reshalf import ResHalfCodec

ROOT = Path(__file__).parents[1]


def test_the_pictures_show_what_the_checkpoint_makes(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "SHOWN", {"astronaut.jpg": make.SHOWN["astronaut.jpg"]})
    assert make.main(["--model", str(checkpoint), "--out", str(tmp_path)]) == 0
    made = {path.name for path in tmp_path.iterdir()}
    assert made <= {path.name for path in (ROOT / "figures").iterdir()} and len(made) == 4
    halftone = ResHalfCodec(checkpoint).halftone(read_image(ROOT / "test_imgs/astronaut.jpg").bgr)
    (top, left), (down, right) = make.SHOWN["astronaut.jpg"]
    part = halftone[top + down :, left + right :][:96, :96]
    np.testing.assert_array_equal(read_halftone(tmp_path / "astronaut_halftone.png")[1::3, 1::3], part)
    shown = read_image(tmp_path / "astronaut_photograph.jpg").bgr
    assert cv2.PSNR(shown, read_image(ROOT / "test_imgs/astronaut.jpg").bgr[top:, left:][:288, :288]) > 30


def test_a_missing_checkpoint_is_one_line(tmp_path, capsys):
    assert make.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_links_lead_somewhere_without_a_network():
    """Links to files exist; anchors are headings of the file they point into."""
    pages = [
        path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    followed = 0
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith(("http:", "https:")):
                continue
            file, _, anchor = unquote(target).partition("#")
            goal = (page.parent / file) if file else page
            assert goal.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", goal.read_text(), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}, target
            followed += 1
    assert followed > 10
