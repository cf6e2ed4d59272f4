"""The Python interface: the shipped codec, its errors, and the example in the README."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from metrics.quality import psnr
from model.reshalf import InverseHalf
from reshalf import ResHalfCodec
from utils.checkpoint import write_checkpoint
from utils.errors import UserError

ROOT = Path(__file__).parents[2]


def test_the_shipped_codec_restores_a_photograph():
    photo = cv2.imread(str(ROOT / "test_imgs/astronaut.jpg"))[:201, 150:355]
    codec = ResHalfCodec(device="cpu")
    halftone = codec.halftone(photo)
    assert halftone.dtype == np.uint8 and halftone.shape == (201, 205) and set(np.unique(halftone)) == {0, 255}
    assert psnr(photo, codec.restore(halftone)) > 25
    fast = ResHalfCodec(device="cpu", fast=True).halftone(photo)
    assert 0.1 < (fast != halftone).mean() < 0.9


SEVERAL_THREADS = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from reshalf import ResHalfCodec
photo = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
for codec in (ResHalfCodec(device="cpu", fast=True), ResHalfCodec(device="cpu", rounds=1)):
    expected = codec.halftone(photo)
    restored = codec.restore(expected)
    with ThreadPoolExecutor(3) as threads:
        assert all((halftone == expected).all() for halftone in threads.map(codec.halftone, [photo] * 12))
        assert all((colours == restored).all() for colours in threads.map(codec.restore, [expected] * 12))
"""


def test_threads_may_share_a_codec():
    # numba's workqueue layer, its only one without a library, aborts when two threads enter a parallel loop at once
    environment = os.environ | {"NUMBA_THREADING_LAYER": "workqueue"}
    done = subprocess.run([sys.executable, "-c", SEVERAL_THREADS], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_arrays_of_wrong_shape_type_or_value_are_rejected(checkpoint):
    codec = ResHalfCodec(checkpoint, "cpu")
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(ValueError, match="a photograph must be"):
            codec.halftone(wrong)
    for wrong in (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool), np.zeros((0, 8), np.uint8)):
        with pytest.raises(ValueError, match="a halftone must be"):
            codec.restore(wrong)
    with pytest.raises(ValueError, match="0 and 255 only"):
        codec.restore(np.full((8, 8), 254, np.uint8))


def test_a_codec_that_cannot_be_built_is_a_user_error_of_one_line(checkpoint, tmp_path):
    extractor = tmp_path / "extractor.pth.tar"
    write_checkpoint(extractor, {"state_dict": InverseHalf(4).state_dict()})
    for words, arguments, more in [
        ("no such checkpoint", (tmp_path / "missing",), {}),
        ("InverseHalf", (extractor,), {}),
        ("nowhere", (checkpoint, "nowhere"), {}),
        ("multiple of 8", (checkpoint, "cpu"), {"tile": 100}),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            ResHalfCodec(*arguments, **more)
        assert "\n" not in str(caught.value)


@pytest.mark.processor
def test_the_example_in_the_readme_runs_and_prints_its_figure(monkeypatch, capsys):
    """Restored as int8 the PSNR is 30.44 dB, in bfloat16 and float32 30.48 dB: README rounds to what holds on both."""
    example = re.search(r"## From Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(ROOT)
    exec(example, {})
    printed = float(capsys.readouterr().out.removesuffix(" dB\n"))
    documented = float(re.search(r"# ([\d.]+) dB$", example, re.MULTILINE)[1])
    assert documented == pytest.approx(30.44, abs=0.06)
    exact = {"int8": 30.44, "bfloat16": 30.48, "float32": 30.48}[ResHalfCodec().precision]
    assert printed == pytest.approx(exact, abs=0.02)
    assert printed == pytest.approx(documented, abs=0.06)
