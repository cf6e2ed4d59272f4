"""Learning rates step by step."""

import pytest
import torch

from training.schedule import LearningRate


def rates(toy, tmp_path, steps, losses=(), **settings):
    config = toy.make_config(tmp_path, **{f"lr_sheduler__{key}": value for key, value in settings.items()})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.optimizer.lr)
    schedule = LearningRate(optimizer, config.lr_sheduler, config.optimizer.lr, steps, steps_per_epoch=2)
    seen = []
    for step in range(steps):
        schedule.before_step(step)
        seen.append(schedule.rate)
        if losses:
            schedule.after_epoch(losses[step], step + 1)
    return seen


def test_the_plateau_halves_the_rate_after_more_than_patience_epochs_without_improvement(toy, tmp_path):
    seen = rates(toy, tmp_path, 8, [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert seen == [0.01] * 6 + [0.005] * 2


def test_the_cosine_rises_during_the_warm_up_and_ends_at_min_lr(toy, tmp_path):
    seen = rates(toy, tmp_path, 104, name="cosine", warmup_steps=4, min_lr=1e-3)
    assert seen[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert seen[54] == pytest.approx((0.01 + 0.001) / 2) and seen[-1] == pytest.approx(1e-3, rel=0.01)
    assert seen[4:] == sorted(seen[4:], reverse=True)


def test_after_a_restart_warm_up_and_cosine_begin_again(toy, tmp_path):
    settings = {"name": "cosine", "warmup_steps": 4, "min_lr": 1e-3}
    seen = rates(toy, tmp_path, 134, **settings, restart_step=30)
    assert seen[:30] == rates(toy, tmp_path, 30, **settings)
    assert seen[30:] == rates(toy, tmp_path, 104, **settings)
    slower = rates(toy, tmp_path, 134, **settings, restart_step=30, restart_lr=0.004)
    assert slower[:30] == seen[:30] and slower[33] == pytest.approx(0.004)


def test_the_exponential_falls_by_its_factor_after_every_epoch(toy, tmp_path):
    seen = rates(toy, tmp_path, 6, name="exponential", factor=0.9, min_lr=0.0085)
    assert seen == pytest.approx([0.01, 0.01, 0.009, 0.009, 0.0085, 0.0085])


def test_the_plateau_ignores_epochs_of_the_warm_up(toy, tmp_path):
    seen = rates(toy, tmp_path, 6, [1.0] * 6, warmup_steps=3, patience=0)
    assert seen == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.01, 0.005])
