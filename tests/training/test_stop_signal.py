"""SIGTERM and Ctrl-C during a training: the state is saved and the run can be resumed."""

import os
import signal

import pytest

from training.trainer import Trainer
from utils.checkpoint import BEST, LAST, read_checkpoint
from utils.errors import Interrupted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state_and_the_resumed_run_ends_with_the_same_bits(toy, tmp_path, number):
    handler = signal.getsignal(number)

    def at_step(now):
        if now == 7:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as stopped:
        toy.run(tmp_path / "a", at_step=at_step)
    assert stopped.value.signum == number
    assert f"{number.name} at step 7 of 15" in str(stopped.value) and "--resume" in str(stopped.value)
    assert signal.getsignal(number) is handler
    assert read_checkpoint(tmp_path / "a/run" / LAST)["step"] == 7
    resumed, alone = toy.run(tmp_path / "a", resume=True), toy.run(tmp_path / "b")
    assert toy.same_weights(alone.network.state_dict(), resumed.network.state_dict())


@pytest.mark.parametrize("number", [3, 5])
def test_a_signal_during_validation_saves_at_once_and_the_resumed_run_repeats_the_validation(toy, tmp_path, number):
    seen = []

    def at_picture(now):
        seen.append(now)
        if now == number:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = {"trainer__monitor": "restored_psnr", "ema_decay": 0.9, "trainer__save_epochs": 10}
    with pytest.raises(Interrupted, match=f"step {5 * (number + 1) // 2} of 15"):
        toy.run(tmp_path / "a", at_picture=at_picture, **settings)
    assert seen[-1] == number, "no batch of the validation is predicted after the signal"
    resumed, alone = toy.run(tmp_path / "a", resume=True, **settings), toy.run(tmp_path / "b", **settings)
    assert toy.same_weights(alone.network.state_dict(), resumed.network.state_dict())
    assert (
        toy.same_weights(alone.average.module.state_dict(), resumed.average.module.state_dict())
        and alone.best == resumed.best
    )
    logs = [toy.stats(tmp_path / name / "run") for name in ("a", "b")]
    assert [line.get("validation") for line in logs[0]] == [line.get("validation") for line in logs[1]]
    best = [read_checkpoint(tmp_path / name / "run" / BEST) for name in ("a", "b")]
    assert best[0]["step"] == best[1]["step"] and toy.same_weights(best[0]["state_dict"], best[1]["state_dict"])


@pytest.mark.parametrize("number", [5, 8, 15])
@pytest.mark.parametrize("settings", [{}, {"trainer__validate_every": 2, "trainer__save_epochs": 10}])
def test_a_signal_in_any_step_of_an_epoch_leaves_logs_and_best_as_in_an_uninterrupted_run(
    toy, tmp_path, number, settings
):
    def at_step(now):
        if now == number:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"step {number} of 15"):
        toy.run(tmp_path / "a", at_step=at_step, ema_decay=0.9, **settings)
    toy.run(tmp_path / "a", resume=True, ema_decay=0.9, **settings)
    toy.run(tmp_path / "b", ema_decay=0.9, **settings)
    stopped, alone = (tmp_path / name / "run" for name in ("a", "b"))
    assert (stopped / "total_per_epoch.txt").read_text() == (alone / "total_per_epoch.txt").read_text()
    assert [line.get("validation") for line in toy.stats(stopped)] == [
        line.get("validation") for line in toy.stats(alone)
    ]
    for file in (LAST, BEST):
        a, b = read_checkpoint(stopped / file), read_checkpoint(alone / file)
        assert (a["step"], a["monitor_best"]) == (b["step"], b["monitor_best"])
        assert toy.same_weights(a["state_dict"], b["state_dict"])


def test_a_run_stopped_at_the_end_of_an_epoch_and_shortened_is_validated_once_and_finished(toy, tmp_path):
    def at_picture(now):
        if now == 3:  # the second validation, after step 10
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        toy.run(tmp_path, at_picture=at_picture)
    shortened = toy.run(tmp_path, resume=True, trainer__max_steps=7)
    assert shortened.step == 10 and shortened.finished
    again = Trainer(
        toy.make_config(tmp_path, trainer__max_steps=7),
        shortened.fabric,
        toy.ToyObjective(),
        toy.ToyStream(),
        resume=read_checkpoint(tmp_path / "run" / LAST),
    )
    assert again.finished
