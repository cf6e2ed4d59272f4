"""Several processes share a folder and write what one process would have written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def pictures(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.png")}


def table(printed):
    """The lines of the table, without the column of seconds, by name."""
    rows = [line.split() for line in printed.splitlines() if "×" in line]
    return {row[0]: row[1:4] + row[5:] for row in rows}


def finished(out):
    """Names of the files in the manifest; its other lines are those of the shards."""
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return [entry["name"] for entry in entries if "shard" not in entry]


def files_beside_the_outputs(out):
    """Names of the files in the output folder itself, and of hidden files: reports and temporary files, if any."""
    return {path.name for path in out.rglob("*") if path.is_file() and path.parent == out or path.name[0] == "."}


def test_shards_write_what_one_process_writes_and_the_last_prints_the_table(run, checkpoint, photos, tmp_path, capsys):
    (photos / "c.png").write_text("no picture")
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert run(checkpoint, photos, whole) == 3
    expected = capsys.readouterr()
    codes = [run(checkpoint, photos, shared, "--shard", f"{index}/3") for index in (2, 1)]
    printed = capsys.readouterr()
    assert "shard 2 of 3: 3 done" in printed.out and not table(printed.out) and not (shared / "overview.png").exists()
    assert [*codes, run(checkpoint, photos, shared, "--shard", "3/3")] == [0, 0, 3]
    printed = capsys.readouterr()
    assert table(printed.out) == table(expected.out)
    assert list(table(printed.out)) == [f"{name}.png" for name in "abdefghi"]
    assert "8 done" in printed.out and "1 of 9 skipped: c.png" in printed.err
    assert pictures(shared) == pictures(whole)
    assert sorted(finished(shared)) == finished(whole)
    assert files_beside_the_outputs(shared) == {"manifest.jsonl", "overview.png"}


def test_a_repeated_shard_completes_the_summary(run, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out, "--shard", "1/2") == 0
    assert run(checkpoint, photos, out, "--shard", "1/2", "--skip_existing") == 0
    assert run(checkpoint, photos, out, "--shard", "2/2", "--fast") == 0
    assert not table(capsys.readouterr().out)
    assert run(checkpoint, photos, out, "--shard", "2/2", "--skip_existing") == 0
    printed = capsys.readouterr().out
    assert len(table(printed)) == 9 and all(len(row) == 6 for row in table(printed).values())
    assert "4 done" in printed and "5 finished before" in printed
    assert files_beside_the_outputs(out) == {"manifest.jsonl", "overview.png"}


def test_the_table_of_shards_has_the_scores_of_files_that_were_done_before(run, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    expected = capsys.readouterr().out
    assert run(checkpoint, photos, out, "--shard", "2/2", "--skip_existing") == 0
    assert not table(capsys.readouterr().out)
    assert run(checkpoint, photos, out, "--shard", "1/2", "--skip_existing") == 0
    printed = capsys.readouterr().out
    assert table(printed) == table(expected) and "9 finished before" in printed


def test_a_shard_stopped_by_a_full_disk_is_in_the_summary(run, checkpoint, photos, tmp_path, capsys, monkeypatch):
    out, write_bytes, written = tmp_path / "out", Path.write_bytes, []

    def scarce(path, data):
        if path.suffix == ".png":
            written.append(path)
            if len(written) > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", scarce)
        assert run(checkpoint, photos, out, "--shard", "1/2") == 3
    assert "shard 1 of 2: 2 done, 0 finished before, 3 not processed (disk full)" in capsys.readouterr().out
    assert run(checkpoint, photos, out, "--shard", "2/2") == 0
    printed = capsys.readouterr()
    assert list(table(printed.out)) == [f"{name}.png" for name in "abcdfh"] and "stopped: 6 of 9 done" in printed.err


def test_more_shards_than_photographs_leave_some_without_work(run, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    for path in sorted(photos.iterdir())[2:]:
        path.unlink()
    assert [run(checkpoint, photos, out, "--shard", f"{index}/3") for index in (3, 2, 1)] == [0, 0, 0]
    assert list(table(capsys.readouterr().out)) == ["a.png", "b.png"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_does_not_exist_is_reported_in_one_line(run, checkpoint, photos, tmp_path, capsys, shard):
    assert run(checkpoint, photos, tmp_path / "out", f"--shard={shard}") == 2
    assert capsys.readouterr().err == f"error: --shard {shard}: allowed: I/N, shard I of N, as in 1/4 to 4/4\n"


def test_rank_and_world_size_are_read_from_the_environment(run, checkpoint, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert "shard 2 of 4: 2 done" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out/restored").iterdir()) == ["b.png", "f.png"]


def test_torchrun_with_two_processes_equals_one_and_ends_neither_early(run, checkpoint, photos, tmp_path, capsys):
    """The second process has only a bad file; its exit code 3 must not end the first, which is slower."""
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
    assert table(done.stdout) == table(expected.out) and list(table(done.stdout)) == ["a.png", "c.png"]
    assert "1 of 3 skipped: b.png" in done.stderr and "interrupted" not in done.stderr
    assert pictures(shared) == pictures(whole) and sorted(finished(shared)) == finished(whole)
    assert files_beside_the_outputs(shared) == {"manifest.jsonl", "overview.png"}
