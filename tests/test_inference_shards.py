"""Several processes share a folder and leave what one would have left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import inference_fast

ROOT = Path(__file__).parents[1]

SLOW_FIRST = """
import os, sys, time
import inference_fast
from reshalf.codec import ResHalfCodec

restore = ResHalfCodec.restore

def slowly(engine, halftone):
    time.sleep(1)
    return restore(engine, halftone)

if os.environ["RANK"] == "0":
    ResHalfCodec.restore = slowly
sys.exit(inference_fast.main(sys.argv[1:]))
"""


@pytest.fixture
def photos(make_photos):
    """Nine photographs of different sizes."""
    return make_photos({name: (40 + index, 60) for index, name in enumerate("abcdefghi")})


def arguments(checkpoint, photos, out, *more):
    return ["--model", str(checkpoint), "--data_dir", str(photos), "--save_dir", str(out), "--device", "cpu", *more]


def run(checkpoint, photos, out, *more):
    return inference_fast.main(arguments(checkpoint, photos, out, *more))


def pictures(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.png")}


def names(said):
    """The first column of the table."""
    return [line.split()[0] for line in said.splitlines() if "×" in line]


def finished(out):
    return [json.loads(line)["name"] for line in (out / "manifest.jsonl").read_text().splitlines()]


def hidden(out):
    return [path for path in out.rglob(".*") if path.is_file()]


def test_shares_make_what_one_process_makes_and_the_last_tells_the_whole(checkpoint, photos, tmp_path, capsys):
    (photos / "c.png").write_text("no picture")
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert run(checkpoint, photos, whole) == 3
    expected = capsys.readouterr()
    codes = [run(checkpoint, photos, shared, "--shard", f"{index}/3") for index in (2, 1)]
    said = capsys.readouterr()
    assert "shard 2 of 3: 3 done" in said.out and not names(said.out) and not (shared / "overview.png").exists()
    assert [*codes, run(checkpoint, photos, shared, "--shard", "3/3")] == [0, 0, 3]
    said = capsys.readouterr()
    assert names(said.out) == names(expected.out) == [f"{name}.png" for name in "abdefghi"]
    assert "8 done" in said.out and "1 of 9 skipped: c.png" in said.err
    assert pictures(shared) == pictures(whole)
    assert sorted(finished(shared)) == finished(whole)
    assert not hidden(shared)


def test_a_share_done_anew_completes_the_summary_of_a_killed_run(checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out, "--shard", "1/2") == 0
    assert run(checkpoint, photos, out, "--shard", "1/2", "--skip-existing") == 0
    assert run(checkpoint, photos, out, "--shard", "2/2", "--fast") == 0
    assert not names(capsys.readouterr().out)
    assert run(checkpoint, photos, out, "--shard", "2/2", "--skip-existing") == 0
    said = capsys.readouterr().out
    assert len(names(said)) == 4 and "5 were done already" in said
    assert not hidden(out)


def test_more_shares_than_photographs_leave_some_with_nothing_to_do(checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    for path in sorted(photos.iterdir())[2:]:
        path.unlink()
    assert [run(checkpoint, photos, out, "--shard", f"{index}/3") for index in (3, 2, 1)] == [0, 0, 0]
    assert names(capsys.readouterr().out) == ["a.png", "b.png"]


@pytest.mark.parametrize("wish", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_share_that_does_not_exist_is_one_line(checkpoint, photos, tmp_path, capsys, wish):
    assert run(checkpoint, photos, tmp_path / "out", f"--shard={wish}") == 2
    assert capsys.readouterr().err == f"error: --shard {wish}: allowed: I/N, the I-th of N shares, as in 1/4 to 4/4\n"


def test_rank_and_world_size_are_read_from_the_environment(checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert "shard 2 of 4: 2 done" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out/restored").iterdir()) == ["b.png", "f.png"]


def test_torchrun_with_two_processes_equals_one_and_neither_is_ended_early(checkpoint, photos, tmp_path, capsys):
    """The second process has nothing but a bad file; its exit code 3 must not end the first, which takes its time."""
    for name in "defghi":
        (photos / f"{name}.png").unlink()
    (photos / "b.png").write_text("no picture")
    whole, shared, script = tmp_path / "whole", tmp_path / "shared", tmp_path / "slow_first.py"
    assert run(checkpoint, photos, whole) == 3
    expected = capsys.readouterr()
    script.write_text(SLOW_FIRST)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(
        [*launch, *arguments(checkpoint, photos, shared)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 1 and "exitcode  : 3" in done.stderr
    assert "shard 1 of 2: 2 done" in done.stdout and "shard 2 of 2: 0 done" in done.stdout
    assert names(done.stdout) == names(expected.out) == ["a.png", "c.png"]
    assert "1 of 3 skipped: b.png" in done.stderr and "interrupted" not in done.stderr
    assert pictures(shared) == pictures(whole) and sorted(finished(shared)) == finished(whole)
    assert not hidden(shared)
