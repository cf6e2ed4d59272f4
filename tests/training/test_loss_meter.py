"""Means of the loss terms, and the check that they are finite."""

import math

import pytest
import torch

from training.devices import make_fabric
from training.loss_meter import LossMeter
from utils.errors import UserError


def test_a_deferred_check_reports_the_step_and_is_complete_before_anything_is_saved(toy, tmp_path):
    meter = LossMeter(make_fabric(toy.make_config(tmp_path)), deferred=True)
    meter.add(1, {"total": torch.tensor(1.0)}, stop_requested=False)
    meter.add(2, {"total": torch.tensor(math.inf)}, stop_requested=False)
    with pytest.raises(UserError, match="step 2: the loss is not finite: total inf"):
        meter.check()
    meter.add(3, {"total": torch.tensor(1.0)}, stop_requested=True)
    assert not meter.stop
    meter.add(4, {"total": torch.tensor(1.0)}, stop_requested=False)
    assert meter.stop


@pytest.mark.parametrize(
    ("name", "value", "settings"),
    [
        ("quantize", 10.5, "driftGuard.*grad_clip.*optimizer.betas.*optimizer.lr"),
        ("start", 101.0, "optimizer.lr.*grad_clip"),
    ],
)
def test_a_halftone_that_leaves_its_range_is_reported_with_the_settings_to_change(toy, tmp_path, name, value, settings):
    meter = LossMeter(make_fabric(toy.make_config(tmp_path)), deferred=True)
    meter.add(1, {name: torch.tensor(value / 2), "total": torch.tensor(500.0)}, stop_requested=False)
    meter.add(2, {name: torch.tensor(value), "total": torch.tensor(1.0)}, stop_requested=False)
    message = rf"^step 2: .*left \[-1, 1\]: {name} is {value:g}.*{settings}"
    with pytest.raises(UserError, match=message) as error:
        meter.add(3, {"total": torch.tensor(1.0)}, stop_requested=False)  # other terms: the names are those of step 2
    assert "\n" not in str(error.value)


def test_the_interval_mean_restarts_when_the_terms_change(toy, tmp_path):
    meter = LossMeter(make_fabric(toy.make_config(tmp_path)))
    meter.add(1, {"start": torch.tensor(1.0), "total": torch.tensor(1.0)}, stop_requested=False)
    meter.add(2, {"tone": torch.tensor(2.0), "start": torch.tensor(3.0), "total": torch.tensor(5.0)}, False)
    assert meter.interval_mean() == meter.epoch_mean() == {"tone": 2.0, "start": 3.0, "total": 5.0}


def test_the_epoch_mean_restarts_when_a_resumed_run_has_other_terms(toy, tmp_path):
    fabric = make_fabric(toy.make_config(tmp_path))
    before, after = LossMeter(fabric), LossMeter(fabric)
    before.add(1, {"restore": torch.tensor(1.0), "tone": torch.tensor(2.0), "total": torch.tensor(3.0)}, False)
    after.load_state_dict(before.state_dict())
    after.add(2, {"restore": torch.tensor(5.0), "total": torch.tensor(5.0)}, False)
    assert after.epoch_mean() == after.interval_mean() == {"restore": 5.0, "total": 5.0}
