"""The training loop: steps, validation, best weights, signals and resume, with the toy objective."""

import math

import pytest
import torch

from training.checkpoints import write_rotating
from training.devices import make_fabric
from training.trainer import Trainer
from utils.checkpoint import BEST, LAST, PREVIOUS, read_checkpoint
from utils.errors import UserError


def test_the_loss_falls(toy, tmp_path):
    trainer = toy.run(tmp_path, trainer__epochs=20, trainer__save_epochs=20, validate=False)
    losses = [float(line) for line in (trainer.config.run_dir / "total_per_epoch.txt").read_text().split()]
    assert losses[-1] < 0.6 * losses[0]


def test_the_number_of_epochs_is_exact(toy, tmp_path):
    calls = []
    trainer = toy.run(tmp_path, at_step=calls.append, trainer__epochs=4)
    assert len(calls) == 4 * toy.STEPS_PER_EPOCH and trainer.epoch == 4
    assert read_checkpoint(trainer.config.run_dir / LAST)["epoch"] == 4
    assert len((trainer.config.run_dir / "total_per_epoch.txt").read_text().split()) == 4


@pytest.mark.parametrize(("limit", "steps"), [(7, 7), (100, 15)])
def test_max_steps_ends_a_run_early_and_never_prolongs_it(toy, tmp_path, limit, steps):
    trainer = toy.run(tmp_path, trainer__max_steps=limit)
    assert trainer.step == steps == read_checkpoint(trainer.config.run_dir / LAST)["step"]


def test_steps_per_epoch_does_not_change_the_order_of_the_data(toy, tmp_path):
    alone = toy.run(tmp_path / "a", validate=False)
    regrouped = toy.run(tmp_path / "b", validate=False, trainer__steps_per_epoch=3, trainer__epochs=5)
    assert (regrouped.step, regrouped.epoch) == (15, 5)
    assert toy.same_weights(alone.network.state_dict(), regrouped.network.state_dict())


def test_validation_does_not_change_the_training(toy, tmp_path):
    validated = toy.run(tmp_path / "a", ema_decay=0.9)
    without = toy.run(tmp_path / "b", ema_decay=0.9, validate=False)
    assert toy.same_weights(validated.network.state_dict(), without.network.state_dict())


def test_a_run_with_a_raised_max_steps_equals_an_uninterrupted_one(toy, tmp_path):
    alone = toy.run(tmp_path / "a")
    toy.run(tmp_path / "b", trainer__max_steps=8)
    longer = toy.run(tmp_path / "b", resume=True)
    assert toy.same_weights(alone.network.state_dict(), longer.network.state_dict())
    per_epoch = [(tmp_path / name / "run/total_per_epoch.txt").read_text() for name in ("a", "b")]
    assert per_epoch[0] == per_epoch[1]


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_optimizer_settings_changed_on_resume_take_effect(toy, tmp_path, schedule):
    def groups():
        return read_checkpoint(tmp_path / "run" / LAST)["optimizer"]["param_groups"]

    settings = {"validate": False, "lr_sheduler__name": schedule, "lr_sheduler__patience": 0}
    settings |= {"lr_sheduler__threshold": 0.5}  # so that the plateau halves the rate
    toy.run(tmp_path, trainer__max_steps=10, **settings)
    before = groups()[0]["lr"]
    assert before == (0.005 if schedule == "plateau" else 0.01)
    changed = {"optimizer__lr": 0.04, "optimizer__weight_decay": 0.1, "optimizer_type": "AdamW"}
    changed["optimizer__betas"] = [0.8, 0.99]
    trainer = toy.run(tmp_path, trainer__max_steps=11, resume=True, **settings, **changed)
    group = groups()[0]
    assert (group["lr"], group["weight_decay"], list(group["betas"])) == (4 * before, 0.1, [0.8, 0.99])
    fresh = torch.optim.AdamW([torch.zeros(1)]).param_groups[0]
    assert group.get("decoupled_weight_decay") == fresh.get("decoupled_weight_decay")
    assert trainer.schedule.rate == 4 * before


def test_the_best_weights_are_those_of_the_lowest_epoch_loss(toy, tmp_path):
    class EasyInTheMiddle(toy.ToyStream):
        def batches(self, epoch, start_step=0, device="cpu"):
            for batch in super().batches(epoch, start_step, device):
                yield {"colour": batch["colour"] * (0.3 if epoch == 1 else 1)}

    trainer = toy.run(tmp_path, stream=EasyInTheMiddle(), validate=False)
    losses = [float(line) for line in (trainer.config.run_dir / "total_per_epoch.txt").read_text().split()]
    best = read_checkpoint(trainer.config.run_dir / BEST)
    assert best["monitor_best"] == pytest.approx(min(losses))
    assert best["epoch"] == 2 and losses.index(min(losses)) == 1
    assert set(best) >= {"state_dict", "epoch", "optimizer", "monitor_best", "arch"}


def test_a_monitored_validation_metric_is_maximised(toy, tmp_path):
    trainer = toy.run(tmp_path, trainer__monitor="restored_psnr", trainer__epochs=6, optimizer__lr=0.1)
    values = [line["validation"]["restored_psnr"] for line in toy.stats(trainer.config.run_dir) if "validation" in line]
    assert len(values) == 6 and min(values) < max(values)
    assert read_checkpoint(trainer.config.run_dir / BEST)["monitor_best"] == max(values) == trainer.best


def test_a_validation_metric_cannot_be_monitored_without_validation(toy, tmp_path):
    with pytest.raises(UserError, match='trainer.monitor: found "tone_psnr"'):
        toy.run(tmp_path, trainer__monitor="tone_psnr", validate=False)


def test_model_best_contains_the_averaged_weights_and_with_save_half_in_float16(toy, tmp_path):
    trainer = toy.run(tmp_path, ema_decay=0.99, trainer__save_half=True, trainer__epochs=1)
    folder = trainer.config.run_dir
    best, last = read_checkpoint(folder / BEST)["state_dict"], read_checkpoint(folder / LAST)
    for name, value in last["ema"].items():
        assert best[name].dtype == torch.float16 and torch.equal(best[name], value.half())
        assert not torch.equal(value, last["state_dict"][name])


def test_the_average_follows_the_weights_with_the_documented_decay(toy, tmp_path):
    trainer = toy.run(tmp_path, ema_decay=0.5, trainer__max_steps=3, validate=False)
    weight = next(iter(trainer.average.module.state_dict().values()))
    # Decays 2/11, 3/12, 4/13, below 0.5, applied to the weights after each of three steps.
    replay, average = [], None
    for steps in (0, 1, 2, 3):
        again = toy.run(tmp_path / str(steps), trainer__max_steps=max(1, steps), validate=False)
        state = again.network.state_dict() if steps else toy.ToyObjective().network.state_dict()
        replay.append(next(iter(state.values())))
    average = replay[0]
    for step in (1, 2, 3):
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * replay[step]
    torch.testing.assert_close(weight, average)


def test_a_non_finite_loss_ends_the_run_and_reports_step_terms_and_last_good_checkpoint(toy, tmp_path):
    class Poisoned(toy.ToyStream):
        def batches(self, epoch, start_step=0, device="cpu"):
            for step, batch in enumerate(super().batches(epoch, start_step, device), start_step):
                yield {"colour": batch["colour"] * (math.nan if (epoch, step) == (1, 1) else 1)}

    with pytest.raises(UserError) as caught:
        toy.run(tmp_path, stream=Poisoned())
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("step 7:", "restore nan", "tone nan", f"{LAST} (step 5)")), message
    last = read_checkpoint(tmp_path / "run" / LAST)
    assert last["step"] == 5 and all(value.isfinite().all() for value in last["state_dict"].values())


def test_non_finite_weights_after_a_finite_loss_are_never_saved(toy, tmp_path):
    class NoGradient(torch.autograd.Function):
        @staticmethod
        def forward(context, loss):
            return loss.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * math.nan

    class Poisoned(toy.ToyObjective):
        def forward(self, batch):
            terms = super().forward(batch)
            if self.number == 10:  # the last step of the second epoch
                terms["total"] = NoGradient.apply(terms["total"])
            return terms

    config = toy.make_config(tmp_path)
    config.run_dir.mkdir()
    with pytest.raises(UserError) as caught:
        Trainer(config, make_fabric(config), Poisoned(), toy.ToyStream()).fit()
    assert f"step 10: the weights are not finite; last good checkpoint: {config.run_dir / LAST} (step 5)" in str(
        caught.value
    )
    for file in (LAST, BEST):
        kept = read_checkpoint(config.run_dir / file)
        assert kept["step"] == 5 and all(value.isfinite().all() for value in kept["state_dict"].values())


def test_gradients_are_clipped_to_grad_clip(toy, tmp_path):
    def norm(folder, clip):
        toy.run(folder, grad_clip=clip, trainer__max_steps=1, validate=False)
        moments = read_checkpoint(folder / "run" / LAST)["optimizer"]["state"].values()
        return math.sqrt(sum(float((entry["exp_avg"] / 0.1).square().sum()) for entry in moments))

    free = norm(tmp_path / "a", None)
    assert norm(tmp_path / "b", free / 4) == pytest.approx(free / 4, rel=1e-3)


def test_the_state_is_saved_before_each_validation(toy, tmp_path):
    saved = []
    last = tmp_path / "run" / LAST
    toy.run(tmp_path, at_picture=lambda number: saved.append(read_checkpoint(last)["step"]), trainer__epochs=2)
    assert saved == [5, 5, 10, 10]


def test_a_truncated_state_is_replaced_by_the_previous_one(toy, tmp_path):
    alone = toy.run(tmp_path / "a")
    toy.run(tmp_path / "b", trainer__max_steps=9, trainer__save_steps=2)
    last = tmp_path / "b/run" / LAST
    last.write_bytes(last.read_bytes()[:-100])
    resumed = toy.run(tmp_path / "b", resume=True)
    assert toy.same_weights(alone.network.state_dict(), resumed.network.state_dict())


def test_weights_without_the_state_of_a_run_cannot_be_resumed(toy, tmp_path):
    trainer = toy.run(tmp_path)
    best = read_checkpoint(trainer.config.run_dir / BEST)
    for name in (LAST, PREVIOUS):
        (trainer.config.run_dir / name).unlink()
    write_rotating(trainer.config.run_dir, best)
    with pytest.raises(UserError, match="not the state of a run .*initial_ckpt"):
        toy.run(tmp_path, resume=True)


def test_a_state_of_another_network_is_a_one_line_error(toy, tmp_path):
    trainer = toy.run(tmp_path, trainer__max_steps=1, validate=False)
    state = read_checkpoint(trainer.config.run_dir / LAST)
    state["state_dict"]["encoder.weight"] = torch.zeros(2, 2)
    write_rotating(trainer.config.run_dir, state)
    with pytest.raises(UserError, match="does not fit") as caught:
        toy.run(tmp_path, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("switches", [{"channels_last": True}, {"precision": "bf16-mixed"}])
def test_speed_switches_train_to_nearly_the_same_weights(toy, tmp_path, switches):
    plain = toy.run(tmp_path / "a", validate=False).network.state_dict()
    fast = toy.run(tmp_path / "b", validate=False, **switches).network.state_dict()
    for name, value in plain.items():
        assert fast[name].dtype == torch.float32
        torch.testing.assert_close(fast[name], value, atol=0.03, rtol=0.03)


def test_with_bf16_mixed_the_networks_run_in_bfloat16_and_the_batch_stays_in_float32(toy, tmp_path):
    seen = {}

    class Recording(toy.ToyObjective):
        def forward(self, batch):
            seen["batch"] = batch["colour"]
            seen["network"] = self.network.decoder(batch["colour"][:, :1])
            return super().forward(batch)

    config = toy.make_config(tmp_path, precision="bf16-mixed")
    trainer = Trainer(config, make_fabric(config), Recording(), toy.ToyStream())
    batch = next(toy.ToyStream().batches(0))
    trainer.train_step(batch)
    assert torch.equal(seen["batch"], batch["colour"]) and seen["network"].dtype == torch.bfloat16


def test_a_monitored_metric_that_the_objective_does_not_have_is_an_error(toy, tmp_path):
    class NoHalftone(toy.ToyObjective):
        def predict(self, batch):
            return {name: value for name, value in super().predict(batch).items() if name != "halftone"}

    config = toy.make_config(tmp_path, trainer__monitor="tone_psnr")
    config.run_dir.mkdir()
    validation = toy.ToyStream(length=2)
    trainer = Trainer(config, make_fabric(config), NoHalftone(), toy.ToyStream(), validation=validation)
    with pytest.raises(UserError, match='monitor: found "tone_psnr", allowed .*"loss", "restored_psnr"'):
        trainer.fit()


def test_a_state_without_a_validated_step_is_resumed_as_validated(toy, tmp_path):
    alone = toy.run(tmp_path / "a")
    trainer = toy.run(tmp_path / "b", trainer__max_steps=8)
    state = read_checkpoint(trainer.config.run_dir / LAST)
    del state["validated_step"]  # checkpoints of earlier versions
    write_rotating(trainer.config.run_dir, state)
    resumed = toy.run(tmp_path / "b", resume=True)
    assert toy.same_weights(alone.network.state_dict(), resumed.network.state_dict())
