"""The training loop of every stage: minimises an objective over a stream of batches.

The global step alone determines the position in the data, and the checkpoint holds all other state of the run: a
resumed run repeats the steps of an uninterrupted one bit for bit on a CPU; a GPU's convolutions are not deterministic.
"""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric import Fabric

from training.average import WeightAverage
from training.checkpoints import check_resumable, restore_optimizer, write_rotating
from training.config import TrainConfig
from training.devices import gather
from training.loss_meter import LossMeter
from training.protocols import Batch, Objective, Stream
from training.random_state import preserve_rng_state, random_state, seed_all, set_random_state
from training.run_log import RunLog
from training.schedule import LearningRate
from training.step_graph import StepGraph
from training.stop_signal import StopSignal
from training.validation import measure, plot_spectrum
from utils.checkpoint import BEST, LAST, write_checkpoint
from utils.errors import Interrupted, UserError
from utils.progress import progress

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}


class Trainer:
    """Trains `objective` on `stream` with the settings of `config`; `fit` writes into the existing config.run_dir.

    validation  stream of images that are measured every `validate_every` epochs; None: no validation
    flat        stream of constant grays (training.validation.flat_grays): validation also plots their spectra
    resume      state of an earlier run to continue, read from `resume_path`
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
            raise UserError(f'trainer.monitor: found "{settings.monitor}", allowed without validation images: "loss"')
        self.steps_per_epoch = settings.steps_per_epoch or len(stream)
        self.total_steps = min(settings.epochs * self.steps_per_epoch, settings.max_steps or sys.maxsize)
        self.step = 0
        self.validated_step = 0  # the last step at which `_end_epoch` was completed
        self.best: float | None = None
        self._last_good = "none yet"
        self._stop = StopSignal()

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
        one_gpu = fabric.device.type == "cuda" and fabric.world_size == 1
        self._graph = StepGraph(self._compute_gradients, self._trained) if config.cuda_graph and one_gpu else None
        self.average = WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.meter = LossMeter(fabric)
        seed_all(config.seed + fabric.global_rank)  # each process draws its own noise
        if resume is not None:
            self._restore(resume, resume_path)

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.step // self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps are done and the last one is validated."""
        return self.step >= self.total_steps and not self._epoch_end_due

    @property
    def _epoch_end_due(self) -> bool:
        ended = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
        return ended and self.step > self.validated_step

    def fit(self) -> None:
        """Train up to `epochs` epochs or `max_steps`.

        Raises UserError when loss or weights are not finite or a checkpoint cannot be written; Interrupted, with the
        state saved, after SIGTERM or Ctrl-C.
        """
        first = self.fabric.is_global_zero
        # Log lines of the steps and of the end of epoch that will be repeated are removed.
        logged = (self.step - 1) // self.steps_per_epoch if self._epoch_end_due else self.epoch
        self.log = RunLog(self.config.run_dir, self.step, logged, not self._epoch_end_due) if first else None
        self.bar = progress(total=self.total_steps, initial=self.step, unit="step", disable=not first)
        self._interval_start = (time.perf_counter(), self.step)
        batches = self.batches()
        try:
            with self._stop:
                while True:
                    if self._epoch_end_due:
                        self._end_epoch()
                    if self.step >= self.total_steps:
                        break
                    self.train_step(next(batches))
                    self._after_step()
        finally:
            batches.close()
            self.bar.close()
            if self.log:
                self.log.close()

    def batches(self) -> Iterator[Batch]:
        """The batches from the current step on, without end."""
        epoch, start = divmod(self.step, len(self.stream))
        while True:
            yield from self.stream.batches(epoch, start, self.fabric.device)
            epoch, start = epoch + 1, 0

    def train_step(self, batch: Batch) -> None:
        """One update of the weights. Raises UserError when the loss is not finite."""
        self.schedule.before_step(self.step)
        self.objective.step = self.step
        batch = self.objective.draw(batch)
        if self.config.channels_last:
            batch = {name: value.contiguous(memory_format=torch.channels_last) for name, value in batch.items()}
        terms = self._compute_gradients(batch) if self._graph is None else self._graph(batch, self.objective.phase)
        with self._add_last_good():
            self.meter.add(self.step + 1, terms, self._stop.number is not None)
        self.optimizer.step()
        if self._graph is None:  # a graph sets the gradients anew
            self.optimizer.zero_grad()
        self.step += 1
        if self.average:
            self.average.update(self.step)

    def _compute_gradients(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of a step; their gradient, limited to `grad_clip`, is left in the parameters."""
        terms = self.model(batch)
        self.fabric.backward(terms["total"])
        if self.config.grad_clip:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.grad_clip, error_if_nonfinite=False
            )
        return terms

    def _after_step(self) -> None:
        settings = self.config.trainer
        finished = self.step == self.total_steps
        epoch_over = self.step % self.steps_per_epoch == 0
        self.bar.update()
        if finished or self.step % settings.log_every == 0:
            self._log_interval()
        due = epoch_over and self.epoch % settings.save_epochs == 0
        due = due or (settings.save_steps is not None and self.step % settings.save_steps == 0)
        # A single process reads its own signal; several agree through the meter on the step at which they stop.
        stop = self.meter.stop or self._stop_requested()
        if finished or epoch_over or due or stop:
            self._check_finite()
        if finished or due or stop:
            self._save()
        if stop and not finished:
            raise self._interrupted()

    def _stop_requested(self) -> bool:
        """Whether this process is the only one and received a signal."""
        return self._stop.number is not None and self.fabric.world_size == 1

    def _interrupted(self) -> Interrupted:
        number = self._stop.number or signal.SIGTERM
        return Interrupted(
            number,
            f"stopped by {signal.Signals(number).name} at step {self.step} of {self.total_steps}, state saved; "
            f"continue with --resume {self.config.run_dir}",
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
        """Log the epoch, validate, save the best weights; a run that ends in here repeats it when resumed."""
        start, means = time.perf_counter(), self.meter.epoch_mean()
        settings, finished = self.config.trainer, self.step >= self.total_steps
        if self.log:
            self.log.epoch(self.epoch, means)
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
        """Mean metrics over the validation images of all processes, with the averaged weights if there are any.

        Raises UserError when the monitored metric is not among them; Interrupted, with the state saved, when this
        process received a signal.
        """
        with preserve_rng_state(), self._averaged_weights():
            found = measure(self.objective, self.validation, self.fabric, self._stop_requested)
            if found is not None and self.flat is not None and self.log:
                plot_spectrum(self.config.run_dir / "spectrum.png", self.objective, self.flat, self.fabric.device)
                self.log.image_file("validation/spectrum", self.config.run_dir / "spectrum.png", self.step)
        if found is None:
            self._save()
            raise self._interrupted()
        metrics, shown = found
        monitor = self.config.trainer.monitor
        if monitor != "loss" and monitor not in metrics:
            allowed = ", ".join(f'"{name}"' for name in ("loss", *metrics))
            raise UserError(f'trainer.monitor: found "{monitor}", allowed for this network: {allowed}')
        if self.log:
            self.log.validation(self.step, self.step / self.steps_per_epoch, metrics, shown)
            self.bar.write(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        return metrics

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The objective's network is the averaged one, if there is one, inside the `with`."""
        if self.average:
            self.objective.network = self.average.module
        try:
            yield
        finally:
            self.objective.network = self.network

    def _save_best(self, measured: dict[str, float]) -> None:
        """Write model_best: the weights to use, without the state of the run."""
        if not self.fabric.is_global_zero:
            return
        weights = (self.average.module if self.average else self.network).state_dict()
        if self.config.trainer.save_half:
            weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        content = self._progress() | {"state_dict": weights, "optimizer": None, "validation": measured}
        write_checkpoint(self.config.run_dir / BEST, content)

    def _save(self) -> None:
        """Write the state of the run; all processes take part, the first one writes."""
        generators = gather(self.fabric, random_state())
        path = self.config.run_dir / LAST
        if self.fabric.is_global_zero:
            discriminators = self.objective.discriminators
            content = self._progress() | {
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

    def _progress(self) -> dict[str, Any]:
        return {
            "arch": self.network.arch(),
            "epoch": self.epoch,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "monitor_best": self.best,
            "config": self.config.dump(),
        }

    def _restore(self, checkpoint: dict[str, Any], path: str) -> None:
        check_resumable(checkpoint, path, self.config, self.steps_per_epoch)
        try:
            self.network.load_state_dict(checkpoint["state_dict"])
            if self.objective.discriminators is not None:
                self.objective.discriminators.load_state_dict(checkpoint.get("partners") or {})
            restore_optimizer(self.optimizer, checkpoint, self.config.optimizer.lr)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{path}: does not fit the configured network: {reason}") from None
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.meter.load_state_dict(checkpoint["terms"])
        self.step, self.best = checkpoint["step"], checkpoint["monitor_best"]
        self.validated_step = checkpoint.get("validated_step", self.step)
        if self.average:
            self.average.module.load_state_dict(checkpoint["ema"] or checkpoint["state_dict"])
        rank, generators = self.fabric.global_rank, checkpoint["rng"]
        if rank < len(generators):
            set_random_state(generators[rank])
        self._last_good = f"{path} (step {self.step})"

    def _check_finite(self) -> None:
        """Check loss and weights before anything is saved: a finite loss can have a gradient that is not finite."""
        with self._add_last_good():
            self.meter.check()
            largest = torch.stack(torch._foreach_norm(self._trained, math.inf)).max()
            if not largest.isfinite():
                raise UserError(f"step {self.step}: the weights are not finite")

    @contextmanager
    def _add_last_good(self) -> Iterator[None]:
        """Add the last good checkpoint to a UserError."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{error}; last good checkpoint: {self._last_good}") from None
