"""The training loop, once for every stage: it is handed an objective and a stream of batches and knows neither.

An objective is a module with `.network` (what is checkpointed), `forward(batch)` → named scalar terms and "total", and
`predict(batch)` → pictures; what else it trains, as adversaries do, is in `.partners`, if it has any. A stream has a
length, the steps of one pass over the data, and `batches(epoch, start_step, device)`, a pure function of its arguments,
so that the global step alone says where the data stand. All else a run depends on is in the checkpoint: resumed, it
takes the very steps it would have taken (on a CPU to the bit; a GPU's convolutions are not so exact).
"""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from utils.checkpoint import BEST, LAST, write_checkpoint, write_rotating
from utils.config import TrainConfig, flatten
from utils.devices import gather
from utils.ema import Ema
from utils.errors import UserError
from utils.randomness import kept_random_state, random_state, seed_all, set_random_state
from utils.run_log import SHOWN, RunLog
from utils.schedule import LearningRate
from utils.terms import Terms
from utils.validation import picture_metrics, plot_spectrum, to_pictures

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}

Batch = dict[str, Tensor]


class Stream(Protocol):
    """Where batches come from (utils.dataset.BatchStream)."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start_step: int = 0, device: Any = "cpu") -> Iterator[Batch]: ...


class Interrupted(Exception):
    """The run was asked to stop by signal `signum` and saved its state; the message says how to go on."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


class Trainer:
    """Trains `objective` on `stream` as `config` says; `fit` writes into config.run_dir, which then exists.

    validation  stream of pictures to measure every `validate_every` epochs; None: no metrics
    flat        stream of constant grays (utils.validation.flat_grays) whose halftones' spectrum is drawn with them
    resume      a checkpoint that an earlier run wrote, and `resume_path`, its name: go on from there
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        objective: nn.Module,
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
        self.best: float | None = None
        self._unmeasured: dict[str, float] | None = None  # means of an epoch that ended but was not validated yet
        self._last_good = "none was written yet"
        self._signal, self._signal_time = 0, 0.0

        self.objective, self.network = objective, objective.network
        self.partners = getattr(objective, "partners", None)
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
        self.ema = Ema(self.network, config.ema_decay) if config.ema_decay else None
        self.terms = Terms(fabric)
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
        return self.step >= self.total_steps and not self._unmeasured

    def fit(self) -> None:
        """Train up to `epochs` epochs or `max_steps`.

        Raises UserError when loss or weights are not finite or a checkpoint cannot be written, Interrupted after
        SIGTERM or Ctrl-C, when the state is saved.
        """
        first = self.fabric.is_global_zero
        # What comes after the state is logged again, and the end of an epoch that was cut with it.
        logged = (self.step - 1) // self.steps_per_epoch if self._unmeasured else self.epoch
        self.log = RunLog(self.config.run_dir, self.step, logged, validated=not self._unmeasured) if first else None
        self.bar = tqdm(total=self.total_steps, initial=self.step, unit="step", disable=not first)
        self._interval_start = (time.perf_counter(), self.step)
        handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        batches = self._endless()
        try:
            if self._unmeasured:
                self._measure_epoch()
                if self.finished:
                    self._save()
            while self.step < self.total_steps:
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
            self.terms.add(self.step + 1, terms, bool(self._signal))
        self.fabric.backward(terms["total"])
        if self.config.grad_clip:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.grad_clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.ema:
            self.ema.update(self.step)

    def _after_step(self) -> None:
        settings = self.config.trainer
        finished = self.step == self.total_steps
        epoch_over = self.step % self.steps_per_epoch == 0
        self.bar.update()
        if finished or self.step % settings.log_every == 0:
            self._log_interval()
        due = epoch_over and self.epoch % settings.save_epochs == 0
        due = due or (settings.save_steps is not None and self.step % settings.save_steps == 0)
        if finished or epoch_over:
            self._check_finite()
            self._end_epoch(epoch_over, save=due or finished)
            due = False
        # One process sees its own signal; several agree through the terms on the step to stop at.
        stop = self.terms.stop or self._asked_alone
        if finished or due or stop:
            self._check_finite()
            self._save()
        if stop and not finished:
            raise self._interrupted()

    @property
    def _asked_alone(self) -> bool:
        return bool(self._signal) and self.fabric.world_size == 1

    def _interrupted(self) -> Interrupted:
        name = signal.Signals(self._signal or signal.SIGTERM).name
        return Interrupted(
            self._signal or signal.SIGTERM,
            f"stopped by {name} at step {self.step} of {self.total_steps}, state saved; "
            f"go on with --resume {self.config.run_dir}",
        )

    def _log_interval(self) -> None:
        now, (then, step) = time.perf_counter(), self._interval_start
        means = self.terms.interval_mean()
        speed = (self.step - step) * self.config.data_loader.batch_size / (now - then)
        self._interval_start = (now, self.step)
        self.bar.set_postfix_str(f"loss {means['total']:.4g}, {speed:.3g} images/s", refresh=False)
        if self.log:
            extra = {"lr": self.schedule.rate, "images_per_second": speed}
            self.log.interval(self.step, self.step / self.steps_per_epoch, means | extra)

    def _end_epoch(self, whole: bool, save: bool) -> None:
        self._unmeasured = self.terms.epoch_mean()
        if whole:
            self.schedule.after_epoch(self._unmeasured["total"], self.step)
            self.terms.start_epoch()
        if save:  # before the validation, which takes longer than a scheduler may wait for
            self._save()
        self._measure_epoch()

    def _measure_epoch(self) -> None:
        """Log, validate and compare the epoch that ended; one cut here does it all again when resumed."""
        start, means = time.perf_counter(), self._unmeasured
        settings = self.config.trainer
        if self.log:
            self.log.epoch(means)
        measured = {}
        finished = self.step == self.total_steps
        if self.validation is not None and (finished or self.epoch % (settings.validate_every or 1) == 0):
            measured = self._validate()
            if measured is None:
                self._save()
                raise self._interrupted()
        monitored = means["total"] if settings.monitor == "loss" else measured.get(settings.monitor)
        if monitored is not None and self._is_best(monitored):
            self.best = monitored
            self._save_best(measured)
        self._unmeasured = None
        then, step = self._interval_start
        self._interval_start = (then + time.perf_counter() - start, step)

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return True
        return value < self.best if self.config.trainer.monitor == "loss" else value > self.best

    def _validate(self) -> dict[str, float] | None:
        """Means over the validation pictures of all processes, of the averaged weights where there are any.

        None: left because a run in one process was asked to stop.
        """
        measured, shown = [], []
        with kept_random_state(), self._weights_to_use():
            for batch in self.validation.batches(0, 0, self.fabric.device):
                if self._asked_alone:
                    return None
                for pictures in to_pictures(self.objective.predict(batch)):
                    measured.append(picture_metrics(pictures))
                    if len(shown) < SHOWN:
                        shown.append(pictures)
            if self.flat is not None and self.log:
                plot_spectrum(self.config.run_dir / "spectrum.png", self._flat_halftones())
                self.log.picture_file("validation/spectrum", self.config.run_dir / "spectrum.png", self.step)
        measured = [metrics for part in gather(self.fabric, measured) for metrics in part]
        metrics = {name: sum(each[name] for each in measured) / len(measured) for name in measured[0]}
        if self.log:
            self.log.validation(self.step, self.step / self.steps_per_epoch, metrics, shown)
            self.bar.write(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        return metrics

    def _flat_halftones(self) -> list[np.ndarray]:
        batches = self.flat.batches(0, 0, self.fabric.device)
        return [pictures["halftone"] for batch in batches for pictures in to_pictures(self.objective.predict(batch))]

    def _weights_to_use(self) -> Any:
        return self.ema.in_place() if self.ema else nullcontext()

    def _save_best(self, measured: dict[str, float]) -> None:
        """The weights the user wants, without what only a resumed run needs."""
        if not self.fabric.is_global_zero:
            return
        weights = self.ema.weights if self.ema else self.network.state_dict()
        if self.config.trainer.save_half:
            weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        content = self._common() | {"state_dict": weights, "optimizer": None, "validation": measured}
        write_checkpoint(self.config.run_dir / BEST, content)

    def _save(self) -> None:
        """The whole state of the run; every process takes part, the first one writes."""
        generators = gather(self.fabric, random_state())
        path = self.config.run_dir / LAST
        if self.fabric.is_global_zero:
            content = self._common() | {
                "state_dict": self.network.state_dict(),
                "partners": self.partners.state_dict() if self.partners is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "terms": self.terms.state_dict(),
                "unmeasured": self._unmeasured,
                "ema": self.ema.weights if self.ema else None,
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
        missing = [key for key in ("optimizer", "schedule", "terms", "rng", "step") if checkpoint.get(key) is None]
        if missing:
            raise UserError(
                f"{path}: holds weights but not the state of a run ({', '.join(missing)} missing); resume from a "
                "model_last.pth.tar, or start anew with --set initial_ckpt"
            )
        before = flatten(checkpoint.get("config") or {})
        batch, steps = self.config.data_loader.batch_size, self.steps_per_epoch
        for what, found, begun in (
            ("data_loader.batch_size", batch, before.get("data_loader.batch_size", batch)),
            ("steps in an epoch", steps, checkpoint.get("steps_per_epoch", steps)),
        ):
            if found != begun:  # the step alone says where the data and the epochs stand
                raise UserError(f"{path}: {what}: found {found}, allowed: {begun}, as the run began with")
        try:
            self.network.load_state_dict(checkpoint["state_dict"])
            if self.partners is not None:
                self.partners.load_state_dict(checkpoint.get("partners") or {})
            self._restore_optimizer(checkpoint)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{path}: does not fit the configured network: {reason}") from None
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.terms.load_state_dict(checkpoint["terms"])
        if self.ema:
            self.ema.load(checkpoint["ema"] or checkpoint["state_dict"])
        self.step, self.best = checkpoint["step"], checkpoint["monitor_best"]
        if self.step % self.steps_per_epoch == 0 or self.step == self.total_steps:  # else the epoch goes on
            self._unmeasured = checkpoint.get("unmeasured")
        rank, generators = self.fabric.global_rank, checkpoint["rng"]
        if rank < len(generators):
            set_random_state(generators[rank])
        self._last_good = f"{path} (step {self.step})"

    def _restore_optimizer(self, checkpoint: dict[str, Any]) -> None:
        """Moments and rate of the checkpoint, all else from the config; another base rate scales the rate reached."""
        configured = [
            {key: group[key] for key in group.keys() - {"params", "lr"}} for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        base = self.config.optimizer.lr
        before = flatten(checkpoint.get("config") or {}).get("optimizer.lr", base)
        for group, settings in zip(self.optimizer.param_groups, configured, strict=True):
            group.update(settings, lr=group["lr"] if before == base else group["lr"] * base / before)

    def _check_finite(self) -> None:
        """Look at loss and weights before anything is saved: a finite loss may have a gradient that is not."""
        with self._naming_last_good():
            self.terms.look()
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
        # torchrun passes on what the terminal has sent already, so only a later signal means: at once.
        if self._signal and now - self._signal_time > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._signal:
            self._signal, self._signal_time = number, now
            os.write(2, b"\nasked to stop: finishing the step and saving\n")  # print is not safe in a handler
