import json
import math
import os
import signal
from types import SimpleNamespace

import cv2
import pytest
import torch

from training import devices
from training.checkpoints import write_rotating
from training.devices import make_fabric
from training.loss_meter import LossMeter
from training.random_state import random_state, set_random_state
from training.run_log import RunLog
from training.schedule import LearningRate
from training.trainer import Trainer
from utils.checkpoint import BEST, LAST, PREVIOUS, read_checkpoint
from utils.errors import Interrupted, UserError


def run_folder(trainer):
    return trainer.config.run_dir


def stats(folder):
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def same_weights(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, trainer__epochs=20, trainer__save_epochs=20, validate=False)
    losses = [float(line) for line in (run_folder(trainer) / "total_per_epoch.txt").read_text().split()]
    assert losses[-1] < 0.6 * losses[0]


def test_epochs_are_exactly_epochs(stand_in, tmp_path):
    calls = []
    trainer = stand_in.run(tmp_path, at_step=calls.append, trainer__epochs=4)
    assert len(calls) == 4 * stand_in.STEPS_PER_EPOCH and trainer.epoch == 4
    assert read_checkpoint(run_folder(trainer) / LAST)["epoch"] == 4
    assert len((run_folder(trainer) / "total_per_epoch.txt").read_text().split()) == 4


@pytest.mark.parametrize(("limit", "steps"), [(7, 7), (100, 15)])
def test_max_steps_ends_a_run_early_and_never_prolongs_it(stand_in, tmp_path, limit, steps):
    trainer = stand_in.run(tmp_path, trainer__max_steps=limit)
    assert trainer.step == steps == read_checkpoint(run_folder(trainer) / LAST)["step"]


def test_an_epoch_of_so_many_steps_runs_through_the_data_at_its_own_pace(stand_in, tmp_path):
    alone = stand_in.run(tmp_path / "a", validate=False)
    regrouped = stand_in.run(tmp_path / "b", validate=False, trainer__steps_per_epoch=3, trainer__epochs=5)
    assert (regrouped.step, regrouped.epoch) == (15, 5)
    assert same_weights(alone.network.state_dict(), regrouped.network.state_dict())


def test_validation_leaves_no_trace_in_the_training(stand_in, tmp_path):
    with_pictures = stand_in.run(tmp_path / "a", ema_decay=0.9)
    without = stand_in.run(tmp_path / "b", ema_decay=0.9, validate=False)
    assert same_weights(with_pictures.network.state_dict(), without.network.state_dict())


def test_a_run_made_longer_goes_on_where_it_ended(stand_in, tmp_path):
    alone = stand_in.run(tmp_path / "a")
    stand_in.run(tmp_path / "b", trainer__max_steps=8)
    longer = stand_in.run(tmp_path / "b", resume=True)
    assert same_weights(alone.network.state_dict(), longer.network.state_dict())
    per_epoch = [(tmp_path / name / "run/total_per_epoch.txt").read_text() for name in ("a", "b")]
    assert per_epoch[0] == per_epoch[1]


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_optimizer_settings_changed_on_resume_hold(stand_in, tmp_path, schedule):
    def groups():
        return read_checkpoint(tmp_path / "run" / LAST)["optimizer"]["param_groups"]

    settings = {"validate": False, "lr_sheduler__name": schedule, "lr_sheduler__patience": 0}
    settings |= {"lr_sheduler__threshold": 0.5}  # so that the plateau halves the rate
    stand_in.run(tmp_path, trainer__max_steps=10, **settings)
    before = groups()[0]["lr"]
    assert before == (0.005 if schedule == "plateau" else 0.01)
    changed = {"optimizer__lr": 0.04, "optimizer__weight_decay": 0.1, "optimizer_type": "AdamW"}
    trainer = stand_in.run(tmp_path, trainer__max_steps=11, resume=True, **settings, **changed)
    group = groups()[0]
    assert (group["lr"], group["weight_decay"]) == (4 * before, 0.1)
    fresh = torch.optim.AdamW([torch.zeros(1)]).param_groups[0]
    assert group.get("decoupled_weight_decay") == fresh.get("decoupled_weight_decay")
    assert trainer.schedule.rate == 4 * before


def test_the_best_weights_are_those_of_the_lowest_epoch_loss(stand_in, tmp_path):
    class EasyInTheMiddle(stand_in.Stream):
        def batches(self, epoch, start_step=0, device="cpu"):
            for batch in super().batches(epoch, start_step, device):
                yield {"colour": batch["colour"] * (0.3 if epoch == 1 else 1)}

    trainer = stand_in.run(tmp_path, stream=EasyInTheMiddle(), validate=False)
    losses = [float(line) for line in (run_folder(trainer) / "total_per_epoch.txt").read_text().split()]
    best = read_checkpoint(run_folder(trainer) / BEST)
    assert best["monitor_best"] == pytest.approx(min(losses))
    assert best["epoch"] == 2 and losses.index(min(losses)) == 1
    assert set(best) >= {"state_dict", "epoch", "optimizer", "monitor_best", "arch"}


def test_a_monitored_picture_metric_is_the_higher_the_better(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, trainer__monitor="restored_psnr", trainer__epochs=6, optimizer__lr=0.1)
    values = [line["validation"]["restored_psnr"] for line in stats(run_folder(trainer)) if "validation" in line]
    assert len(values) == 6 and min(values) < max(values)
    assert read_checkpoint(run_folder(trainer) / BEST)["monitor_best"] == max(values) == trainer.best


def test_a_picture_metric_without_pictures_is_refused(stand_in, tmp_path):
    with pytest.raises(UserError, match='trainer.monitor: found "tone_psnr"'):
        stand_in.run(tmp_path, trainer__monitor="tone_psnr", validate=False)


def test_the_best_file_holds_the_averaged_weights_in_half_precision_when_asked(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, ema_decay=0.99, trainer__save_half=True, trainer__epochs=1)
    folder = run_folder(trainer)
    best, last = read_checkpoint(folder / BEST)["state_dict"], read_checkpoint(folder / LAST)
    for name, value in last["ema"].items():
        assert best[name].dtype == torch.float16 and torch.equal(best[name], value.half())
        assert not torch.equal(value, last["state_dict"][name])


def test_the_average_follows_the_weights(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, ema_decay=0.5, trainer__max_steps=3, validate=False)
    weight = next(iter(trainer.average.module.state_dict().values()))
    # By hand: decays 2/11, 3/12, 4/13 while they are below 0.5, over the three steps' weights.
    replay, average = [], None
    for steps in (0, 1, 2, 3):
        again = stand_in.run(tmp_path / str(steps), trainer__max_steps=max(1, steps), validate=False)
        state = again.network.state_dict() if steps else stand_in.Objective().network.state_dict()
        replay.append(next(iter(state.values())))
    average = replay[0]
    for step in (1, 2, 3):
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * replay[step]
    torch.testing.assert_close(weight, average)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_terms_and_last_good_checkpoint(stand_in, tmp_path):
    class Poisoned(stand_in.Stream):
        def batches(self, epoch, start_step=0, device="cpu"):
            for step, batch in enumerate(super().batches(epoch, start_step, device), start_step):
                yield {"colour": batch["colour"] * (math.nan if (epoch, step) == (1, 1) else 1)}

    with pytest.raises(UserError) as caught:
        stand_in.run(tmp_path, stream=Poisoned())
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("step 7:", "restore nan", "tone nan", f"{LAST} (step 5)")), message
    last = read_checkpoint(tmp_path / "run" / LAST)
    assert last["step"] == 5 and all(value.isfinite().all() for value in last["state_dict"].values())


def test_weights_that_a_finite_loss_made_not_finite_are_never_saved(stand_in, tmp_path):
    class NoGradient(torch.autograd.Function):
        @staticmethod
        def forward(context, loss):
            return loss.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * math.nan

    class Poisoned(stand_in.Objective):
        def forward(self, batch):
            terms = super().forward(batch)
            if self.number == 10:  # the last step of the second epoch
                terms["total"] = NoGradient.apply(terms["total"])
            return terms

    config = stand_in.make_config(tmp_path)
    config.run_dir.mkdir()
    with pytest.raises(UserError) as caught:
        Trainer(config, make_fabric(config), Poisoned(), stand_in.Stream()).fit()
    assert f"step 10: the weights are not finite; last good checkpoint: {config.run_dir / LAST} (step 5)" in str(
        caught.value
    )
    for file in (LAST, BEST):
        kept = read_checkpoint(config.run_dir / file)
        assert kept["step"] == 5 and all(value.isfinite().all() for value in kept["state_dict"].values())


def test_looking_a_step_late_still_stops_before_anything_is_saved(stand_in, tmp_path):
    terms = LossMeter(make_fabric(stand_in.make_config(tmp_path)), late=True)
    terms.add(1, {"total": torch.tensor(1.0)}, asked_to_stop=False)
    terms.add(2, {"total": torch.tensor(math.inf)}, asked_to_stop=False)
    with pytest.raises(UserError, match="step 2: the loss is not finite: total inf"):
        terms.check()
    terms.add(3, {"total": torch.tensor(1.0)}, asked_to_stop=True)
    assert not terms.stop
    terms.add(4, {"total": torch.tensor(1.0)}, asked_to_stop=False)
    assert terms.stop


def test_an_epoch_resumed_with_other_terms_is_the_mean_of_what_follows(stand_in, tmp_path):
    fabric = make_fabric(stand_in.make_config(tmp_path))
    before, after = LossMeter(fabric), LossMeter(fabric)
    before.add(1, {"restore": torch.tensor(1.0), "tone": torch.tensor(2.0), "total": torch.tensor(3.0)}, False)
    after.load_state_dict(before.state_dict())
    after.add(2, {"restore": torch.tensor(5.0), "total": torch.tensor(5.0)}, False)
    assert after.epoch_mean() == after.interval_mean() == {"restore": 5.0, "total": 5.0}


def test_a_log_on_a_full_disk_is_named(tmp_path):
    log = RunLog(tmp_path)
    (tmp_path / "stats.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="stats.jsonl: cannot be written: No space left on device"):
        log.interval(1, 0.1, {"total": 1.0})
    log.close()


def test_gradients_are_clipped_to_the_norm_asked_for(stand_in, tmp_path):
    def norm(folder, clip):
        stand_in.run(folder, grad_clip=clip, trainer__max_steps=1, validate=False)
        moments = read_checkpoint(folder / "run" / LAST)["optimizer"]["state"].values()
        return math.sqrt(sum(float((entry["exp_avg"] / 0.1).square().sum()) for entry in moments))

    free = norm(tmp_path / "a", None)
    assert norm(tmp_path / "b", free / 4) == pytest.approx(free / 4, rel=1e-3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_saves_and_the_resumed_run_ends_with_the_same_bits(stand_in, tmp_path, number):
    handler = signal.getsignal(number)

    def at_step(now):
        if now == 7:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as stopped:
        stand_in.run(tmp_path / "a", at_step=at_step)
    assert stopped.value.signum == number
    assert f"{number.name} at step 7 of 15" in str(stopped.value) and "--resume" in str(stopped.value)
    assert signal.getsignal(number) is handler
    assert read_checkpoint(tmp_path / "a/run" / LAST)["step"] == 7
    resumed, alone = stand_in.run(tmp_path / "a", resume=True), stand_in.run(tmp_path / "b")
    assert same_weights(alone.network.state_dict(), resumed.network.state_dict())


def test_a_validation_begins_when_the_state_is_saved(stand_in, tmp_path):
    saved = []
    last = tmp_path / "run" / LAST
    stand_in.run(tmp_path, at_picture=lambda number: saved.append(read_checkpoint(last)["step"]), trainer__epochs=2)
    assert saved == [5, 5, 10, 10]


@pytest.mark.parametrize("number", [3, 5])
def test_asked_to_stop_in_a_validation_it_saves_at_once_and_validates_when_resumed(stand_in, tmp_path, number):
    seen = []

    def at_picture(now):
        seen.append(now)
        if now == number:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = {"trainer__monitor": "restored_psnr", "ema_decay": 0.9, "trainer__save_epochs": 10}
    with pytest.raises(Interrupted, match=f"step {5 * (number + 1) // 2} of 15"):
        stand_in.run(tmp_path / "a", at_picture=at_picture, **settings)
    assert seen[-1] == number, "the second picture of that validation was not asked for"
    resumed, alone = stand_in.run(tmp_path / "a", resume=True, **settings), stand_in.run(tmp_path / "b", **settings)
    assert same_weights(alone.network.state_dict(), resumed.network.state_dict())
    assert (
        same_weights(alone.average.module.state_dict(), resumed.average.module.state_dict())
        and alone.best == resumed.best
    )
    logs = [stats(tmp_path / name / "run") for name in ("a", "b")]
    assert [line.get("validation") for line in logs[0]] == [line.get("validation") for line in logs[1]]
    best = [read_checkpoint(tmp_path / name / "run" / BEST) for name in ("a", "b")]
    assert best[0]["step"] == best[1]["step"] and same_weights(best[0]["state_dict"], best[1]["state_dict"])


def test_a_truncated_state_is_not_trusted_and_the_one_before_goes_on(stand_in, tmp_path):
    alone = stand_in.run(tmp_path / "a")
    stand_in.run(tmp_path / "b", trainer__max_steps=9, trainer__save_steps=2)
    last = tmp_path / "b/run" / LAST
    last.write_bytes(last.read_bytes()[:-100])
    resumed = stand_in.run(tmp_path / "b", resume=True)
    assert same_weights(alone.network.state_dict(), resumed.network.state_dict())


def test_weights_alone_cannot_be_resumed_from(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path)
    best = read_checkpoint(run_folder(trainer) / BEST)
    for name in (LAST, PREVIOUS):
        (run_folder(trainer) / name).unlink()
    write_rotating(run_folder(trainer), best)
    with pytest.raises(UserError, match="not the state of a run .*initial_ckpt"):
        stand_in.run(tmp_path, resume=True)


def test_a_state_of_another_network_is_refused_in_one_line(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, trainer__max_steps=1, validate=False)
    state = read_checkpoint(run_folder(trainer) / LAST)
    state["state_dict"]["encoder.weight"] = torch.zeros(2, 2)
    write_rotating(run_folder(trainer), state)
    with pytest.raises(UserError, match="does not fit") as caught:
        stand_in.run(tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_everything_to_look_at_is_there(stand_in, tmp_path):
    trainer = stand_in.run(tmp_path, trainer__epochs=2)
    folder = run_folder(trainer)
    lines = stats(folder)
    assert [line["step"] for line in lines] == [2, 4, 5, 6, 8, 10, 10]
    assert lines[0].keys() == {"step", "epoch", "restore", "tone", "total", "lr", "images_per_second"}
    assert lines[2]["validation"].keys() == {"restored_psnr", "restored_ssim", "tone_psnr"}
    for term in ("restore", "tone", "total"):
        assert len((folder / f"{term}_per_epoch.txt").read_text().split()) == 2
    for kind, channels in (("halftone", 1), ("restored", 3)):
        picture = cv2.imread(str(folder / "train_cache" / kind / "00000.png"), cv2.IMREAD_UNCHANGED)
        assert picture.reshape(16, 16, -1).shape[2] == channels
        assert len(list((folder / "train_cache" / kind).iterdir())) == 8
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))


def test_interval_means_are_those_of_the_steps(stand_in, tmp_path):
    each = stats(run_folder(stand_in.run(tmp_path / "a", trainer__log_every=1, trainer__epochs=1, validate=False)))
    pairs = stats(run_folder(stand_in.run(tmp_path / "b", trainer__log_every=2, trainer__epochs=1, validate=False)))
    totals = [line["total"] for line in each]
    expected = [(totals[0] + totals[1]) / 2, (totals[2] + totals[3]) / 2, totals[4]]
    assert [line["total"] for line in pairs] == pytest.approx(expected)
    epoch = float((tmp_path / "a/run/total_per_epoch.txt").read_text())
    assert epoch == pytest.approx(sum(totals) / 5)


@pytest.mark.parametrize("switches", [{"channels_last": True}, {"precision": "bf16-mixed"}])
def test_speed_switches_train_to_nearly_the_same_weights(stand_in, tmp_path, switches):
    plain = stand_in.run(tmp_path / "a", validate=False).network.state_dict()
    fast = stand_in.run(tmp_path / "b", validate=False, **switches).network.state_dict()
    for name, value in plain.items():
        assert fast[name].dtype == torch.float32
        torch.testing.assert_close(fast[name], value, atol=0.03, rtol=0.03)


def test_in_bfloat16_the_networks_compute_and_the_targets_stay_exact(stand_in, tmp_path):
    seen = {}

    class Looking(stand_in.Objective):
        def forward(self, batch):
            seen["batch"] = batch["colour"]
            seen["network"] = self.network.decoder(batch["colour"][:, :1])
            return super().forward(batch)

    config = stand_in.make_config(tmp_path, precision="bf16-mixed")
    trainer = Trainer(config, make_fabric(config), Looking(), stand_in.Stream())
    batch = next(stand_in.Stream().batches(0))
    trainer._train_step(batch)
    assert torch.equal(seen["batch"], batch["colour"]) and seen["network"].dtype == torch.bfloat16


def rates(stand_in, tmp_path, steps, losses=(), **settings):
    config = stand_in.make_config(tmp_path, **{f"lr_sheduler__{key}": value for key, value in settings.items()})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.optimizer.lr)
    schedule = LearningRate(optimizer, config.lr_sheduler, config.optimizer.lr, steps, steps_per_epoch=2)
    seen = []
    for step in range(steps):
        schedule.before_step(step)
        seen.append(schedule.rate)
        if losses:
            schedule.after_epoch(losses[step], step + 1)
    return seen


def test_the_plateau_halves_the_rate_after_more_than_patience_epochs_without_gain(stand_in, tmp_path):
    seen = rates(stand_in, tmp_path, 8, [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert seen == [0.01] * 6 + [0.005] * 2


def test_the_cosine_rises_over_the_warm_up_and_ends_at_min_lr(stand_in, tmp_path):
    seen = rates(stand_in, tmp_path, 104, name="cosine", warmup_steps=4, min_lr=1e-3)
    assert seen[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert seen[54] == pytest.approx((0.01 + 0.001) / 2) and seen[-1] == pytest.approx(1e-3, rel=0.01)
    assert seen[4:] == sorted(seen[4:], reverse=True)


def test_the_exponential_falls_by_its_factor_after_every_epoch(stand_in, tmp_path):
    seen = rates(stand_in, tmp_path, 6, name="exponential", factor=0.9, min_lr=0.0085)
    assert seen == pytest.approx([0.01, 0.01, 0.009, 0.009, 0.0085, 0.0085])


def test_a_plateau_waits_for_the_end_of_the_warm_up(stand_in, tmp_path):
    seen = rates(stand_in, tmp_path, 6, [1.0] * 6, warmup_steps=3, patience=0)
    assert seen == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.01, 0.005])


def test_cuda_without_cuda_falls_back_to_the_cpu_and_says_so(stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fabric = make_fabric(stand_in.make_config(tmp_path, cuda=True))
    assert fabric.device.type == "cpu" and "training on the CPU" in capsys.readouterr().err


def test_a_run_on_the_cpu_leaves_a_gpu_alone(monkeypatch):
    def touched(*arguments):
        raise AssertionError("CUDA was asked for its state")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", touched)
    monkeypatch.setattr(torch.cuda, "set_rng_state", touched)
    state = random_state()
    set_random_state(state | {"cuda": state["torch"]})  # as a run on a GPU saved it


@pytest.fixture
def launched(monkeypatch):
    """Function from a number of GPUs to the environment and the settings that Fabric's own launcher is given."""

    def make(gpus):
        settings = {}
        fabric = SimpleNamespace(global_rank=0, is_global_zero=True, launch=lambda: None)
        monkeypatch.setattr(devices, "Fabric", lambda **given: settings.update(given) or fabric)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
        monkeypatch.setattr(devices.os, "environ", {})
        return devices.os.environ, settings

    return make


def test_processes_that_fabric_launched_know_rank_and_share_as_under_torchrun(stand_in, tmp_path, launched):
    environment, _ = launched(2)
    make_fabric(stand_in.make_config(tmp_path, cuda=True))
    assert environment == {"RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(("gpus", "used"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 4)])
def test_as_many_gpus_are_used_as_share_out_the_batch(stand_in, tmp_path, launched, capsys, gpus, used):
    _, settings = launched(gpus)
    make_fabric(stand_in.make_config(tmp_path, cuda=True))
    assert settings["devices"] == used
    warning = f"training on {used} of {gpus} GPUs: data_loader.batch_size 4 is no multiple of more"
    assert (warning in capsys.readouterr().err) == (used < gpus)


def test_a_joint_batch_that_cannot_be_shared_out_is_refused(stand_in, tmp_path, monkeypatch):
    for name, value in {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="data_loader.batch_size: found 4 for 3 processes, allowed: a multiple of 3"):
        make_fabric(stand_in.make_config(tmp_path))


def test_photographs_in_order_are_refused_for_several_processes(stand_in, tmp_path, monkeypatch):
    """Their last batch may be short, and the gradients of unequal parts would weigh equally."""
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="data_loader.shuffle: found false for 2 processes, allowed: true"):
        make_fabric(stand_in.make_config(tmp_path, data_loader__shuffle=False))
