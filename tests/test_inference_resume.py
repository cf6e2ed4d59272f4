"""Continuing a run with --skip_existing: what is repeated, and the table of everything that is finished."""

import json

import pytest

from model.prior import Prior
from model.reshalf import ResHalf
from utils.checkpoint import write_checkpoint


@pytest.fixture
def photos(make_photos):
    return make_photos(dict.fromkeys("abcd", (48, 64)))


def test_skip_existing_repeats_what_another_input_checkpoint_or_seed_made(run, checkpoint, photos, tmp_path, capsys):
    out, other = tmp_path / "out", tmp_path / "other.pth.tar"
    network = ResHalf(4, Prior())
    write_checkpoint(other, {"state_dict": network.state_dict(), "arch": network.arch()})

    def kept(model, *more):
        assert run(model, photos, out, "--skip_existing", *more) == 0
        said = capsys.readouterr().out
        return int(said.split(" finished before")[0].split("\n")[-1]) if "finished before" in said else 0

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


def table(printed):
    """The lines of the table, without the column of seconds, by name."""
    rows = [line.split() for line in printed.splitlines() if ".png" in line and not line.startswith("see")]
    return {name: [*size, *scores] for name, *size, _, psnr, ssim, tone in rows for scores in [(psnr, ssim, tone)]}


@pytest.mark.parametrize("flag", ["--skip_existing", "--skip-existing"])
def test_the_table_has_the_scores_of_files_that_were_done_before(run, flag, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    first = capsys.readouterr().out
    assert list(table(first)) == ["a.png", "b.png", "c.png", "d.png"]
    assert run(checkpoint, photos, out, flag) == 0
    again = capsys.readouterr().out
    assert table(again) == table(first) and "4 finished before" in again
    (out / "restored/b.png").unlink()
    (out / "overview.png").unlink()
    assert run(checkpoint, photos, out, flag) == 0
    mixed = capsys.readouterr().out
    assert table(mixed) == table(first) and "1 done" in mixed and "3 finished before" in mixed
    assert (out / "overview.png").is_file()


def test_a_file_that_is_skipped_now_is_not_in_the_table(run, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    (photos / "c.png").write_text("no picture")
    capsys.readouterr()
    assert run(checkpoint, photos, out, "--skip_existing") == 3
    printed = capsys.readouterr()
    assert list(table(printed.out)) == ["a.png", "b.png", "d.png"] and "1 of 4 skipped: c.png" in printed.err


def test_manifests_of_earlier_releases_are_continued_with_blank_results(run, checkpoint, photos, tmp_path, capsys):
    out, ledger = tmp_path / "out", tmp_path / "out/manifest.jsonl"
    assert run(checkpoint, photos, out) == 0
    first = capsys.readouterr().out
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    old = [{key: entry[key] for key in ("name", "input", "made_by", "outputs")} for entry in entries]
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in [*old[:2], *entries[2:]]))
    assert run(checkpoint, photos, out, "--skip_existing") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines[1:3]] == ["a.png", "b.png"]
    assert lines[3:5] == first.splitlines()[3:5]
    assert "4 finished before" in lines


def test_the_manifest_keeps_size_seconds_and_scores(run, checkpoint, photos, tmp_path, capsys):
    assert run(checkpoint, photos, tmp_path / "out") == 0
    printed = table(capsys.readouterr().out)
    for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert entry["size"] == [48, 64] and entry["seconds"] > 0 and entry["note"] == ""
        scores = entry["scores"]
        shown = [f"{scores['psnr']:.2f}", f"{scores['ssim']:.3f}", f"{scores['tone']:.2f}"]
        assert printed[entry["name"]] == ["64", "×", "48", *shown]
    assert len(printed) == 4
