"""Kills, full disks and lack of memory: an incomplete file never has its final name."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.prior import Prior
from model.reshalf import ResHalf

ROOT = Path(__file__).parents[1]

# Runs the command with a pause in the middle of the fourth file, which is the second restored photograph.
SLOW_WRITER = """
import sys, time
from pathlib import Path
import inference_fast

write_bytes, written = Path.write_bytes, []

def slowly(path, data):
    written.append(path)
    if len(written) == 4:
        write_bytes(path, data[: len(data) // 2])
        print("half", flush=True)
        time.sleep(float(sys.argv[1]))
    return write_bytes(path, data)

Path.write_bytes = slowly
sys.exit(inference_fast.main(sys.argv[2:]))
"""


@pytest.fixture
def photos(make_photos):
    return make_photos(dict.fromkeys("abcd", (48, 64)))


def arguments(checkpoint, photos, out):
    return ["--model", str(checkpoint), "--data_dir", str(photos), "--save_dir", str(out), "--device", "cpu"]


def start(checkpoint, photos, out, pause):
    """The command in a process of its own, after half of its fourth file was written."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(pause), *arguments(checkpoint, photos, out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "half\n", process.stderr.read()
    return process


def results(out):
    """The bytes of every output file, by name; all must be complete images."""
    files = {path.relative_to(out): path for path in out.glob("*/*.png") if not path.name.startswith(".")}
    for path in files.values():
        Image.open(path).load()
    return {name: path.read_bytes() for name, path in files.items()}


def temporary_files(out):
    return [path for path in out.rglob(".*") if path.is_file()]


def test_a_killed_run_leaves_no_incomplete_file_and_is_continued(run, checkpoint, photos, tmp_path, capsys):
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    process = start(checkpoint, photos, out, pause=60)
    process.kill()
    process.communicate()
    assert sorted(map(str, results(out))) == ["halftone/a.png", "halftone/b.png", "restored/a.png"]
    assert len(temporary_files(out)) == 1
    first = (out / "restored/a.png").stat().st_mtime_ns
    assert run(checkpoint, photos, out, "--skip_existing") == 0
    assert "3 done" in (said := capsys.readouterr().out) and "1 finished before" in said
    assert (out / "restored/a.png").stat().st_mtime_ns == first
    assert run(checkpoint, photos, undisturbed) == 0
    assert results(out) == results(undisturbed) and len(results(out)) == 8
    assert not temporary_files(out)


def test_sigterm_finishes_the_current_file_and_reports_how_to_continue(checkpoint, photos, tmp_path):
    out = tmp_path / "out"
    process = start(checkpoint, photos, out, pause=1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted: " in errors and "--skip_existing" in errors and "Traceback" not in errors
    assert {Path("restored/a.png"), Path("restored/b.png")} <= set(results(out))
    assert not temporary_files(out)


def test_ctrl_c_prints_no_traceback(run, checkpoint, photos, tmp_path, monkeypatch, capsys):
    def interrupted(self, bgr):
        raise KeyboardInterrupt

    monkeypatch.setattr("reshalf.codec.ResHalfCodec.halftone", interrupted)
    assert run(checkpoint, photos, tmp_path / "out") == 130
    assert "interrupted: 0 of 4 done" in capsys.readouterr().err


def test_a_full_disk_stops_the_run_in_one_line_and_leaves_no_incomplete_file(
    run, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    out, room, write_bytes = tmp_path / "out", [5_000], Path.write_bytes

    def scarce(path, data):
        taken = min(len(data), room[0])
        room[0] -= taken
        write_bytes(path, data[:taken])
        if taken < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", scarce)
        assert run(checkpoint, photos, out) == 3
    errors = capsys.readouterr().err
    assert errors.count("No space left on device") == 1 and "stopped: " in errors and "--skip_existing" in errors
    assert not temporary_files(out)
    assert 0 < len(results(out)) < 8
    assert run(checkpoint, photos, out, "--skip_existing") == 0
    assert len(results(out)) == 8


def test_a_file_size_limit_skips_only_the_files_above_it(run, checkpoint, photos, tmp_path, capsys):
    random = np.random.default_rng(1).integers(0, 256, (150, 160, 3), np.uint8)
    cv2.imwrite(str(photos / "b.png"), cv2.GaussianBlur(random, (3, 3), 1))
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, limits[1]))
    try:
        code = run(checkpoint, photos, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 3
    assert f"{out / 'restored/b.png'}: cannot be written: File too large" in capsys.readouterr().err
    assert not temporary_files(out)
    assert {f"restored/{name}.png" for name in "acd"} == {str(n) for n in results(out) if n.parts[0] == "restored"}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_lack_of_memory_skips_only_the_photograph(run, error, checkpoint, photos, tmp_path, monkeypatch, capsys):
    cv2.imwrite(str(photos / "b.png"), np.zeros((100, 100, 3), np.uint8))
    searched = Prior.classical_halftone

    def scarce(prior, bgr):
        if len(bgr) == 100:
            raise error
        return searched(prior, bgr)

    monkeypatch.setattr(Prior, "classical_halftone", scarce)
    assert run(checkpoint, photos, tmp_path / "out") == 3
    assert f"{photos / 'b.png'}: not enough memory" in capsys.readouterr().err
    assert len(list((tmp_path / "out/restored").iterdir())) == 3


def test_pictures_are_written_when_scores_do_not_fit_into_memory(
    run, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    def scarce(*_):
        raise MemoryError

    monkeypatch.setattr("metrics.quality.ssim", scarce)
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert "nan" in capsys.readouterr().out and len(results(tmp_path / "out")) == 8


def test_weights_that_overflow_are_reported_and_nothing_is_written(
    run, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ResHalf, "decode", lambda network, halftone: halftone.expand(-1, 3, -1, -1) / 0)
    assert run(checkpoint, photos, tmp_path / "out") == 3
    error = capsys.readouterr().err
    assert all(f"{path}: the network's output is not finite" in error for path in photos.iterdir())
    assert not list((tmp_path / "out/restored").glob("*"))
