"""What goes wrong in production: kills, full disks, hostile files. Nothing half-written is ever seen as done."""

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

import inference_fast
from model.prior import Prior
from model.reshalf import ResHalf
from utils.checkpoint import write_checkpoint

ROOT = Path(__file__).parents[1]

# Runs the command, but the fourth file written, the restored one of the second photograph, stays half for a while.
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


def run(checkpoint, photos, out, *more):
    return inference_fast.main([*arguments(checkpoint, photos, out), *more])


def start(checkpoint, photos, out, pause):
    """The command in a process of its own, once its fourth file is half written."""
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
    """Every file under its final name, which must be complete, and its bytes."""
    files = {path.relative_to(out): path for path in out.glob("*/*.png") if not path.name.startswith(".")}
    for path in files.values():
        Image.open(path).load()
    return {name: path.read_bytes() for name, path in files.items()}


def temporary_files(out):
    return [path for path in out.rglob(".*") if path.is_file()]


def test_a_killed_run_leaves_no_half_file_and_goes_on_where_it_stopped(checkpoint, photos, tmp_path, capsys):
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    process = start(checkpoint, photos, out, pause=60)
    process.kill()
    process.communicate()
    assert sorted(map(str, results(out))) == ["halftone/a.png", "halftone/b.png", "restored/a.png"]
    assert len(temporary_files(out)) == 1
    first = (out / "restored/a.png").stat().st_mtime_ns
    assert run(checkpoint, photos, out, "--skip-existing") == 0
    assert "3 done" in (said := capsys.readouterr().out) and "1 were done already" in said
    assert (out / "restored/a.png").stat().st_mtime_ns == first
    assert run(checkpoint, photos, undisturbed) == 0
    assert results(out) == results(undisturbed) and len(results(out)) == 8
    assert not temporary_files(out)


def test_sigterm_finishes_the_file_at_hand_says_how_to_go_on_and_leaves_no_trace(checkpoint, photos, tmp_path):
    out = tmp_path / "out"
    process = start(checkpoint, photos, out, pause=1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted: " in errors and "--skip-existing" in errors and "Traceback" not in errors
    assert {Path("restored/a.png"), Path("restored/b.png")} <= set(results(out))
    assert not temporary_files(out)


def test_ctrl_c_is_no_traceback(checkpoint, photos, tmp_path, monkeypatch, capsys):
    def interrupted(self, bgr):
        raise KeyboardInterrupt

    monkeypatch.setattr("reshalf.codec.ResHalfCodec.halftone", interrupted)
    assert run(checkpoint, photos, tmp_path / "out") == 130
    assert "interrupted: 0 of 4 done" in capsys.readouterr().err


def test_a_full_disk_stops_the_run_in_one_line_and_leaves_no_half_file(
    checkpoint, photos, tmp_path, monkeypatch, capsys
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
    assert errors.count("No space left on device") == 1 and "stopped: " in errors and "--skip-existing" in errors
    assert not temporary_files(out)
    assert 0 < len(results(out)) < 8
    assert run(checkpoint, photos, out, "--skip-existing") == 0
    assert len(results(out)) == 8


def test_a_file_size_limit_costs_only_the_files_above_it(checkpoint, photos, tmp_path, capsys):
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


def test_skip_existing_makes_anew_what_belongs_to_another_input_checkpoint_or_seed(
    checkpoint, photos, tmp_path, capsys
):
    out, other = tmp_path / "out", tmp_path / "other.pth.tar"
    network = ResHalf(4, Prior())
    write_checkpoint(other, {"state_dict": network.state_dict(), "arch": network.arch()})

    def kept(model, *more):
        assert run(model, photos, out, "--skip-existing", *more) == 0
        said = capsys.readouterr().out
        return int(said.split(" were done already")[0].split("\n")[-1]) if "already" in said else 0

    assert kept(checkpoint) == 0
    assert kept(checkpoint) == 4
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    assert kept(checkpoint) == 3
    (out / "restored/c.png").unlink()
    assert kept(checkpoint) == 3
    assert kept(checkpoint, "--seed", "1") == 0
    assert kept(checkpoint, "--fast") == 0
    assert kept(other) == 0
    assert kept(other) == 4


def test_hostile_files_cost_one_line_each_and_extreme_shapes_nothing(checkpoint, photos, tmp_path, capsys, monkeypatch):
    cv2.imwrite(str(photos / "one.png"), np.full((1, 1, 3), 200, np.uint8))
    cv2.imwrite(str(photos / "long.png"), np.full((1, 5000, 3), 90, np.uint8))
    cv2.imwrite(str(photos / "tall.png"), np.full((5000, 1, 3), 90, np.uint8))
    cv2.imwrite(str(photos / "bomb.png"), np.zeros((110, 101, 3), np.uint8))
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 255)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:-2000])
    (photos / "text.jpg").write_text("no picture")
    (photos / "empty.webp").touch()
    (photos / "circle.png").symlink_to("circle.png")
    (photos / "dangling.png").symlink_to("nowhere.png")
    (photos / "back.png").symlink_to(photos, target_is_directory=True)
    os.mkfifo(photos / "pipe.png")
    locked = photos / "locked.png"
    locked.write_bytes((photos / "a.png").read_bytes())
    deny(locked, monkeypatch)
    bad = {
        "bomb.png": "limit 0",
        "moving.gif": "animation",
        "cut.png": "truncated or damaged",
        "text.jpg": "not an image",
        "empty.webp": "empty",
        "circle.png": "symbolic links",
        "dangling.png": "No such file",
        "back.png": "link back",
        "pipe.png": "not a regular file",
        "locked.png": "Permission denied",
    }
    out = tmp_path / "out"
    assert run(checkpoint, photos, out, "--recursive", "--max_pixels", "11000") == 3
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if f"skipped: {photos}" in line]
    for name, reason in bad.items():
        about = [line for line in lines if f"{photos / name}: " in line]
        assert len(about) == 1 and reason in about[0]
    assert len(lines) == len(bad)
    assert f"{len(bad)} of {len(bad) + 7} skipped" in said.err
    assert {path.stem for path in (out / "restored").iterdir()} == {*"abcd", "one", "long", "tall"}
    assert Image.open(out / "restored/long.png").size == (5000, 1)


def deny(locked, monkeypatch):
    """Take the right to read a file; root, who may read everything, is told no by a stand-in for open()."""
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        opened = open

        def refusing(path, *args, **kwargs):
            if Path(str(path)) == locked:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return opened(path, *args, **kwargs)

        monkeypatch.setattr("builtins.open", refusing)


def test_originals_are_never_overwritten(checkpoint, photos, tmp_path, capsys):
    before = {path: path.read_bytes() for path in photos.iterdir()}
    assert run(checkpoint, photos, photos) == 2
    assert "another folder" in capsys.readouterr().err
    restored = tmp_path / "restored"
    photos.rename(restored)
    assert run(checkpoint, restored, tmp_path) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {p.name: b for p, b in before.items()}


def test_halftones_may_be_restored_into_the_folder_they_lie_in(checkpoint, photos, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    first = results(out)
    (out / "restored/a.png").unlink()
    assert run(checkpoint, out / "halftone", out, "--decoding") == 0
    assert results(out) == first


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_lack_of_memory_costs_only_the_photograph(error, checkpoint, photos, tmp_path, monkeypatch, capsys):
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


def test_scores_that_do_not_fit_the_memory_cost_no_picture(checkpoint, photos, tmp_path, monkeypatch, capsys):
    def scarce(*_):
        raise MemoryError

    monkeypatch.setattr("metrics.banded.ssim", scarce)
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert "nan" in capsys.readouterr().out and len(results(tmp_path / "out")) == 8


def test_photographs_of_other_kinds_are_named(checkpoint, photos, tmp_path, capsys):
    for name in ("a.heic", "e.HEIC", "f.cr2", "notes.txt"):
        (photos / name).write_bytes(b"\0\0\0\x18ftypheic")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    error = capsys.readouterr().err
    assert f"{photos / 'a.heic'}: HEIC files are not read" in error and "3 of 7 skipped: a.heic, e.HEIC, f.cr2" in error
    assert len(results(tmp_path / "out")) == 8


def test_a_folder_that_is_no_input_blocks_nothing(checkpoint, photos, tmp_path, capsys):
    (photos / "a").symlink_to(photos, target_is_directory=True)
    assert run(checkpoint, photos, tmp_path / "out", "--recursive") == 3
    assert "a: a link back to a folder above it" in capsys.readouterr().err
    assert len(results(tmp_path / "out")) == 8


def test_a_link_to_the_results_is_no_input(checkpoint, photos, tmp_path):
    (photos / "made").symlink_to(tmp_path / "out", target_is_directory=True)
    for _ in range(2):
        assert run(checkpoint, photos, tmp_path / "out", "--recursive") == 0
    assert len(results(tmp_path / "out")) == 8


@pytest.mark.parametrize("out", ["file", "file/deeper", "kept"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    out, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/halftone").write_text("in the way")
    monkeypatch.setattr("reshalf.codec.ResHalfCodec.halftone", lambda *_: pytest.fail("worked"))
    assert run(checkpoint, photos, tmp_path / out) == 2
    assert "not a folder" in capsys.readouterr().err


def test_a_name_of_two_lines_is_one_line(checkpoint, photos, tmp_path, capsys):
    (photos / "two\nlines.png").write_text("no picture")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    assert "two\\nlines.png: not an image" in (error := capsys.readouterr().err) and "two\n" not in error


def test_flags_that_would_do_nothing_are_refused(checkpoint, photos, tmp_path, capsys):
    for flags, words in (
        (["--decoding", "--fast"], "not with --decoding"),
        (["--decoding", "--rounds", "2"], "not with --decoding"),
        (["--force"], "--force is for --decoding"),
    ):
        assert run(checkpoint, photos, tmp_path / "out", *flags) == 2
        assert words in capsys.readouterr().err
    assert inference_fast.main(["--decoding"]) == 2
    assert "--decoding needs --data_dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "flags", "words"),
    [
        ({}, ["--device", "meta"], "meta"),
        ({}, ["--seed", "9" * 20], "64 bits"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, [], "RANK x"),
        ({"RANK": "7", "WORLD_SIZE": "2"}, [], "RANK 7"),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    environment, flags, words, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(checkpoint, photos, tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_weights_that_overflow_are_told_and_leave_no_picture(checkpoint, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ResHalf, "decode", lambda network, halftone: halftone.expand(-1, 3, -1, -1) / 0)
    assert run(checkpoint, photos, tmp_path / "out") == 3
    error = capsys.readouterr().err
    assert all(f"{path}: the network's output is not finite" in error for path in photos.iterdir())
    assert not list((tmp_path / "out/restored").glob("*"))
