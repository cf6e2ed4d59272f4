"""Learning rate schedules: plateau (as released), cosine, exponential, constant; each with a linear warm-up.

At `restart_step` warm-up and cosine start again: the start of a training has a cosine of its own.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from training.config import ScheduleConfig

_COUNTERS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class LearningRate:
    """Sets the learning rate of every parameter group.

    base             rate before schedule and warm-up
    total_steps      step at which a cosine reaches `min_lr`, as it does at `restart_step`
    steps_per_epoch  steps between two reductions of an exponential
    """

    def __init__(
        self, optimizer: Optimizer, config: ScheduleConfig, base: float, total_steps: int, steps_per_epoch: int
    ):
        self._optimizer, self._config, self._base, self._total = optimizer, config, base, total_steps
        self._steps_per_epoch = steps_per_epoch
        plateau = config.model_dump(include={"factor", "patience", "threshold", "cooldown", "min_lr"})
        self._plateau = ReduceLROnPlateau(optimizer, **plateau)

    def before_step(self, step: int) -> None:
        """Set the rate of the next step, counted from 0."""
        config, base = self._config, self._base
        restart = min(config.restart_step, self._total)
        total = restart or self._total
        if step >= restart > 0:
            step, total, base = step - restart, self._total - restart, config.restart_lr or base
        if step < config.warmup_steps:
            rate = base * (step + 1) / config.warmup_steps
        elif config.name == "cosine":
            done = (step - config.warmup_steps) / max(1, total - config.warmup_steps)
            rate = config.min_lr + (base - config.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        elif config.name == "exponential":
            rate = max(config.min_lr, base * config.factor ** (step // self._steps_per_epoch))
        elif config.name == "constant" or step == config.warmup_steps:
            rate = base
        else:
            return  # ReduceLROnPlateau sets the rate in the optimizer
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def after_epoch(self, loss: float, step: int) -> None:
        """Update the plateau with an epoch's mean training loss; epochs that end within the warm-up are ignored."""
        if self._config.name == "plateau" and step > self._config.warmup_steps:
            self._plateau.step(loss)

    @property
    def rate(self) -> float:
        """The current rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, float]:
        """The counters of the plateau; its settings come from the config."""
        return {key: getattr(self._plateau, key) for key in _COUNTERS}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Inverse of `state_dict`."""
        self._plateau.__dict__.update({key: state[key] for key in _COUNTERS})
