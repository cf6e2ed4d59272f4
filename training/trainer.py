"""The training loop of every stage: it is handed an objective and a stream of batches and knows neither.

The global step alone determines where the data stand, and the checkpoint holds everything else that a run depends on: a
resumed run takes the steps that it would have taken (on a CPU bit for bit; a GPU's convolutions are not so exact).
"""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from training.average import WeightAverage
from training.checkpoints import write_rotating
from training.config import TrainConfig, flatten_config
from training.devices import gather
from training.loss_meter import LossMeter
from training.random_state import preserve_rng_state, random_state, seed_all, set_random_state
from training.run_log import RunLog
from training.schedule import LearningRate
from training.validation import measure, plot_spectrum
from utils.checkpoint import BEST, LAST, write_checkpoint
from utils.errors import Interrupted, UserError

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}

Batch = dict[str, Tensor]


class Stream(Protocol):
    """A source of batches (dataset.batches.BatchStream): a length, the steps of one pass over the data, and
    `batches`, a pure function of its arguments."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start_step: int = 0, device: Any = "cpu") -> Iterator[Batch]: ...


class Objective(Protocol):
    """What is trained, an nn.Module.

    network         the network that is checkpointed; `network.arch()` describes it
    discriminators  further networks that are trained and that only a resumed run needs; None without
    """

    network: nn.Module
    discriminators: nn.Module | None

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms and "total", which is minimised."""

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Images for validation, (N, C, H, W) in [-1, 1]."""


class Trainer:
    """Trains `objective` on `stream` as `config` says; `fit` writes into config.run_dir, which then exists.

    validation  stream of images to measure every `validate_every` epochs; None: no metrics
    flat        stream of constant grays (training.validation.flat_grays) whose halftones' spectrum is plotted with them
    resume      a checkpoint that an earlier run wrote, and `resume_path`, its name: continue from there
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        objective: Objective,
        stream: Stream,
        *,
        validation: Stream | None = None,
        flat: Stream | None = None,
        resume: dict[str, Any] | None = None,
        resume_path: str = "",
    ):
        self.config, self.fabric = config, fabric
        self.stream, self.validation, self.flat = stream, validation, flat
        settings = config.trainer
        if settings.monitor != "loss" and validation is None:
            raise UserError(f'trainer.monitor: found "{settings.monitor}", allowed without validation pictures: "loss"')
        self.steps_per_epoch = settings.steps_per_epoch or len(stream)
        self.total_steps = min(settings.epochs * self.steps_per_epoch, settings.max_steps or sys.maxsize)
        self.step = 0
        self.validated_step = 0  # the last step whose end of epoch was logged, validated and compared with the best
        self.best: float | None = None
        self._last_good = "none was written yet"
        self._signal, self._signal_time = 0, 0.0

        self.objective, self.network = objective, objective.network
        if config.channels_last:
            objective.to(memory_format=torch.channels_last)
        if config.compile:
            for child in self.network.children():
                child.compile()
        self._trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        optimizer = OPTIMIZERS[config.optimizer_type](self._trained, **config.optimizer.model_dump(), fused=True)
        self.model, self.optimizer = fabric.setup(objective, optimizer)
        self.schedule = LearningRate(
            optimizer, config.lr_sheduler, config.optimizer.lr, self.total_steps, self.steps_per_epoch
        )
        self.average = WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.meter = LossMeter(fabric)
        seed_all(config.seed + fabric.global_rank)  # each process draws its own noise
        if resume is not None:
            self._restore(resume, resume_path)

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Nothing is left to train, nor to validate."""
        return self.step >= self.total_steps and not self._epoch_end_due

    @property
    def _epoch_end_due(self) -> bool:
        ended = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
        return ended and self.step > self.validated_step

    def fit(self) -> None:
        """Train up to `epochs` epochs or `max_steps`.

        Raises UserError when loss or weights are not finite or a checkpoint cannot be written, Interrupted after
        SIGTERM or Ctrl-C, when the state is saved.
        """
        first = self.fabric.is_global_zero
        # Lines of the steps and the end of epoch that will be done again are cut off the logs.
        logged = (self.step - 1) // self.steps_per_epoch if self._epoch_end_due else self.epoch
        self.log = RunLog(self.config.run_dir, self.step, logged, not self._epoch_end_due) if first else None
        self.bar = tqdm(total=self.total_steps, initial=self.step, unit="step", disable=not first)
        self._interval_start = (time.perf_counter(), self.step)
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        batches = self._endless()
        try:
            while True:
                if self._epoch_end_due:
                    self._end_epoch()
                if self.step >= self.total_steps:
                    break
                self._train_step(next(batches))
                self._after_step()
        finally:
            batches.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.bar.close()
            if self.log:
                self.log.close()

    def _endless(self) -> Iterator[Batch]:
        passes, start = divmod(self.step, len(self.stream))
        while True:
            yield from self.stream.batches(passes, start, self.fabric.device)
            passes, start = passes + 1, 0

    def _train_step(self, batch: Batch) -> None:
        self.schedule.before_step(self.step)
        if self.config.channels_last:
            batch = {name: value.contiguous(memory_format=torch.channels_last) for name, value in batch.items()}
        terms = self.model(batch)
        with self._naming_last_good():
            self.meter.add(self.step + 1, terms, bool(self._signal))
        self.fabric.backward(terms["total"])
        if self.config.grad_clip:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.grad_clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.average:
            self.average.update_parameters(self.network)

    def _after_step(self) -> None:
        settings = self.config.trainer
        finished = self.step == self.total_steps
        epoch_over = self.step % self.steps_per_epoch == 0
        self.bar.update()
        if finished or self.step % settings.log_every == 0:
            self._log_interval()
        due = epoch_over and self.epoch % settings.save_epochs == 0
        due = due or (settings.save_steps is not None and self.step % settings.save_steps == 0)
        # One process sees its own signal; several agree through the meter on the step to stop at.
        stop = self.meter.stop or self._stop_requested
        if finished or epoch_over or due or stop:
            self._check_finite()
        if finished or due or stop:
            self._save()
        if stop and not finished:
            raise self._interrupted()

    @property
    def _stop_requested(self) -> bool:
        """Whether this process, which is the only one, received a signal."""
        return bool(self._signal) and self.fabric.world_size == 1

    def _interrupted(self) -> Interrupted:
        number = self._signal or signal.SIGTERM
        return Interrupted(
            number,
            f"stopped by {signal.Signals(number).name} at step {self.step} of {self.total_steps}, state saved; "
            f"go on with --resume {self.config.run_dir}",
        )

    def _log_interval(self) -> None:
        now, (then, step) = time.perf_counter(), self._interval_start
        means = self.meter.interval_mean()
        speed = (self.step - step) * self.config.data_loader.batch_size / (now - then)
        self._interval_start = (now, self.step)
        self.bar.set_postfix_str(f"loss {means['total']:.4g}, {speed:.3g} images/s", refresh=False)
        if self.log:
            extra = {"lr": self.schedule.rate, "images_per_second": speed}
            self.log.interval(self.step, self.step / self.steps_per_epoch, means | extra)

    def _end_epoch(self) -> None:
        """Log, validate and compare the epoch that ended; a run that is stopped here does it again when resumed."""
        start, means = time.perf_counter(), self.meter.epoch_mean()
        settings, finished = self.config.trainer, self.step == self.total_steps
        if self.log:
            self.log.epoch(means)
        measured = {}
        if self.validation is not None and (finished or self.epoch % (settings.validate_every or 1) == 0):
            measured = self._validate()
        monitored = means["total"] if settings.monitor == "loss" else measured.get(settings.monitor)
        if monitored is not None and self._is_best(monitored):
            self.best = monitored
            self._save_best(measured)
        if self.step % self.steps_per_epoch == 0:
            self.schedule.after_epoch(means["total"], self.step)
            self.meter.start_epoch()
        self.validated_step = self.step
        if finished:
            self._save()
        then, step = self._interval_start
        self._interval_start = (then + time.perf_counter() - start, step)

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return True
        return value < self.best if self.config.trainer.monitor == "loss" else value > self.best

    def _validate(self) -> dict[str, float]:
        """Means over the validation images of all processes, of the averaged weights where there are any.

        Raises Interrupted, with the state saved, where this process was asked to stop.
        """
        with preserve_rng_state(), self._weights_to_use():
            found = measure(self.objective, self.validation, self.fabric, lambda: self._stop_requested)
            if found is not None and self.flat is not None and self.log:
                plot_spectrum(self.config.run_dir / "spectrum.png", self.objective, self.flat, self.fabric.device)
                self.log.picture_file("validation/spectrum", self.config.run_dir / "spectrum.png", self.step)
        if found is None:
            self._save()
            raise self._interrupted()
        metrics, shown = found
        if self.log:
            self.log.validation(self.step, self.step / self.steps_per_epoch, metrics, shown)
            self.bar.write(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        return metrics

    @contextmanager
    def _weights_to_use(self) -> Iterator[None]:
        """Inside, the objective has the averaged network where there is one."""
        if self.average:
            self.objective.network = self.average.module
        try:
            yield
        finally:
            self.objective.network = self.network

    def _save_best(self, measured: dict[str, float]) -> None:
        """Write the weights to use, without what only a resumed run needs."""
        if not self.fabric.is_global_zero:
            return
        weights = (self.average.module if self.average else self.network).state_dict()
        if self.config.trainer.save_half:
            weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        content = self._common() | {"state_dict": weights, "optimizer": None, "validation": measured}
        write_checkpoint(self.config.run_dir / BEST, content)

    def _save(self) -> None:
        """Write the whole state of the run; every process takes part, the first one writes."""
        generators = gather(self.fabric, random_state())
        path = self.config.run_dir / LAST
        if self.fabric.is_global_zero:
            discriminators = self.objective.discriminators
            content = self._common() | {
                "state_dict": self.network.state_dict(),
                "partners": discriminators.state_dict() if discriminators is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "terms": self.meter.state_dict(),
                "validated_step": self.validated_step,
                "ema": self.average.module.state_dict() if self.average else None,
                "rng": generators,
            }
            write_rotating(self.config.run_dir, content)
        self._last_good = f"{path} (step {self.step})"
        self.fabric.barrier()  # no process ends, or reads the file, before it is written

    def _common(self) -> dict[str, Any]:
        return {
            "arch": self.network.arch(),
            "epoch": self.epoch,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "monitor_best": self.best,
            "config": self.config.dump(),
        }

    def _restore(self, checkpoint: dict[str, Any], path: str) -> None:
        self._check_resumable(checkpoint, path)
        try:
            self.network.load_state_dict(checkpoint["state_dict"])
            if self.objective.discriminators is not None:
                self.objective.discriminators.load_state_dict(checkpoint.get("partners") or {})
            self._restore_optimizer(checkpoint)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{path}: does not fit the configured network: {reason}") from None
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.meter.load_state_dict(checkpoint["terms"])
        self.step, self.best = checkpoint["step"], checkpoint["monitor_best"]
        self.validated_step = checkpoint.get("validated_step", self.step)
        if self.average:
            self.average.restore(checkpoint["ema"] or checkpoint["state_dict"], self.step)
        rank, generators = self.fabric.global_rank, checkpoint["rng"]
        if rank < len(generators):
            set_random_state(generators[rank])
        self._last_good = f"{path} (step {self.step})"

    def _check_resumable(self, checkpoint: dict[str, Any], path: str) -> None:
        """Raise UserError for weights without a run's state, and for a run whose steps had another size."""
        missing = [key for key in ("optimizer", "schedule", "terms", "rng", "step") if checkpoint.get(key) is None]
        if missing:
            raise UserError(
                f"{path}: holds weights but not the state of a run ({', '.join(missing)} missing); resume from a "
                "model_last.pth.tar, or start anew with --set initial_ckpt"
            )
        before = flatten_config(checkpoint.get("config") or {})
        batch, steps = self.config.data_loader.batch_size, self.steps_per_epoch
        for what, found, begun in (
            ("data_loader.batch_size", batch, before.get("data_loader.batch_size", batch)),
            ("steps in an epoch", steps, checkpoint.get("steps_per_epoch", steps)),
        ):
            if found != begun:  # the step alone determines where the data and the epochs stand
                raise UserError(f"{path}: {what}: found {found}, allowed: {begun}, as the run began with")

    def _restore_optimizer(self, checkpoint: dict[str, Any]) -> None:
        """Moments and rate of the checkpoint, all else from the config; another base rate scales the rate reached."""
        configured = [
            {key: group[key] for key in group.keys() - {"params", "lr"}} for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        base = self.config.optimizer.lr
        before = flatten_config(checkpoint.get("config") or {}).get("optimizer.lr", base)
        for group, settings in zip(self.optimizer.param_groups, configured, strict=True):
            group.update(settings, lr=group["lr"] if before == base else group["lr"] * base / before)

    def _check_finite(self) -> None:
        """Check loss and weights before anything is saved: a finite loss may have a gradient that is not."""
        with self._naming_last_good():
            self.meter.check()
            largest = torch.stack(torch._foreach_norm(self._trained, math.inf)).max()
            if not largest.isfinite():
                raise UserError(f"step {self.step}: the weights are not finite")

    @contextmanager
    def _naming_last_good(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise UserError(f"{error}; last good checkpoint: {self._last_good}") from None

    def _on_signal(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        # torchrun repeats what the terminal has sent already, so only a signal that comes later ends the run at once.
        if self._signal and now - self._signal_time > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._signal:
            self._signal, self._signal_time = number, now
            os.write(2, b"\nasked to stop: finishing the step and saving\n")  # print is not safe in a handler
