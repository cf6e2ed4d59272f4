"""Log files of a run."""

import cv2
import pytest

from training.run_log import RunLog
from utils.errors import UserError


def test_a_log_on_a_full_disk_is_an_error_with_its_name(tmp_path):
    log = RunLog(tmp_path)
    (tmp_path / "stats.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="stats.jsonl: cannot be written: No space left on device"):
        log.interval(1, 0.1, {"total": 1.0})
    log.close()


def test_a_run_writes_its_log_lines_text_files_images_and_tensorboard_events(toy, tmp_path):
    trainer = toy.run(tmp_path, trainer__epochs=2)
    folder = trainer.config.run_dir
    lines = toy.stats(folder)
    assert [line["step"] for line in lines] == [2, 4, 5, 6, 8, 10, 10]
    assert lines[0].keys() == {"step", "epoch", "restore", "tone", "total", "lr", "images_per_second"}
    assert lines[2]["validation"].keys() == {"restored_psnr", "restored_ssim", "tone_psnr"}
    for term in ("restore", "tone", "total"):
        assert len((folder / f"{term}_per_epoch.txt").read_text().split()) == 2
    for kind, channels in (("halftone", 1), ("restored", 3)):
        image = cv2.imread(str(folder / "train_cache" / kind / "00000.png"), cv2.IMREAD_UNCHANGED)
        assert image.reshape(16, 16, -1).shape[2] == channels
        assert len(list((folder / "train_cache" / kind).iterdir())) == 8
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))


def test_line_n_of_a_terms_file_is_epoch_n_also_where_the_term_begins_later(tmp_path):
    log = RunLog(tmp_path)
    log.epoch(1, {"start": 1.0})
    log.epoch(2, {"start": 2.0})
    log.epoch(3, {"tone": 3.0})
    log.close()
    assert (tmp_path / "tone_per_epoch.txt").read_text().split() == ["nan", "nan", "3"]
    assert (tmp_path / "start_per_epoch.txt").read_text().split() == ["1", "2"]


def test_interval_and_epoch_means_are_means_over_the_steps(toy, tmp_path):
    toy.run(tmp_path / "a", trainer__log_every=1, trainer__epochs=1, validate=False)
    toy.run(tmp_path / "b", trainer__log_every=2, trainer__epochs=1, validate=False)
    each, pairs = (toy.stats(tmp_path / name / "run") for name in ("a", "b"))
    totals = [line["total"] for line in each]
    expected = [(totals[0] + totals[1]) / 2, (totals[2] + totals[3]) / 2, totals[4]]
    assert [line["total"] for line in pairs] == pytest.approx(expected)
    epoch = float((tmp_path / "a/run/total_per_epoch.txt").read_text())
    assert epoch == pytest.approx(sum(totals) / 5)
