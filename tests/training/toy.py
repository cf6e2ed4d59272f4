"""A small objective and stream, and a script that trains them in processes that are killed or that work together."""

import io
import json
import os
import signal
import sys
import traceback
from contextlib import redirect_stderr
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import mse_loss

from reshalf.config import JointConfig
from training import checkpoints
from training.checkpoints import find_checkpoint
from training.config import parse_config
from training.devices import make_fabric, process_group
from training.run import run_stage
from training.trainer import Trainer
from utils.errors import Interrupted

STEPS_PER_EPOCH, EPOCHS = 5, 3


def ignore(number):
    """The default of ToyObjective's callbacks."""


class ToyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(4, 1, 3, padding=1), nn.Conv2d(1, 3, 3, padding=1)

    def arch(self):
        return {"name": "toy"}


class ToyObjective(nn.Module):
    """Calls `at_step` before each step and `at_picture` before each `predict`, with its number counted from 1."""

    discriminators, step, phase = None, 0, None

    def __init__(self, noise=0.1, at_step=ignore, at_picture=ignore):
        super().__init__()
        torch.manual_seed(0)
        self.network, self.noise, self.at_step, self.number = ToyNetwork(), noise, at_step, 0
        self.at_picture, self.predicted = at_picture, 0

    def draw(self, batch):
        return batch

    def forward(self, batch):
        self.number += 1
        self.at_step(self.number)
        colour = batch["colour"]
        continuous = self.network.encoder(torch.cat((colour, self.noise * torch.randn_like(colour[:, :1])), dim=1))
        restore = mse_loss(self.network.decoder(torch.tanh(continuous)), colour)
        tone = mse_loss(continuous, colour.mean(dim=1, keepdim=True))
        return {"restore": restore, "tone": tone, "total": restore + 0.5 * tone}

    @torch.no_grad()
    def predict(self, batch):
        self.predicted += 1
        self.at_picture(self.predicted)
        colour = batch["colour"]
        drawn = torch.randn_like(colour[:, :1])  # must not change the random numbers of the training
        halftone = torch.where(self.network.encoder(torch.cat((colour, 0 * drawn), dim=1)) < 0, -1.0, 1.0)
        return {"halftone": halftone, "restored": self.network.decoder(halftone), "target": colour}


class ToyStream:
    """Smooth random images, a pure function of epoch, step and rank."""

    def __init__(self, length=STEPS_PER_EPOCH, batch_size=4, rank=0, world_size=1, side=16):
        self.length, self.batch_size, self.rank, self.world_size, self.side = length, batch_size, rank, world_size, side

    def __len__(self):
        return self.length

    def batches(self, epoch, start_step=0, device="cpu"):
        for step in range(start_step, self.length):
            generator = torch.Generator().manual_seed(1000 * epoch + step)
            small = torch.rand(self.batch_size, 3, 4, 4, generator=generator) * 2 - 1
            joint = nn.functional.interpolate(small, size=self.side, mode="bilinear")
            yield {"colour": joint[self.rank :: self.world_size].to(device)}


def stats(folder):
    """The lines of folder/stats.jsonl."""
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def same_weights(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def make_config(folder, **changes):
    """A config for `folder`; the keyword trainer__save_steps=2 sets trainer.save_steps."""
    values = {
        "save_dir": str(folder),
        "name": "run",
        "cuda": False,
        "trainer": {"epochs": EPOCHS, "save_epochs": 1, "log_every": 2},
        "data_loader": {"batch_size": 4},
        "optimizer": {"lr": 1e-2},
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return parse_config(JointConfig, values)


def run(folder, *, noise=0.1, at_step=None, at_picture=None, resume=False, validate=True, stream=None, **changes):
    """Train in folder/run, with `resume` from its last state if there is one; returns the trainer."""
    config = make_config(folder, **changes)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    fabric = make_fabric(config)
    share = {"rank": fabric.global_rank, "world_size": fabric.world_size}
    path, state = "", None
    if resume and any(config.run_dir.glob("model_*.pth.tar")):
        path, state, _ = find_checkpoint(config.run_dir)
    validation = ToyStream(length=2, **share) if validate else None
    objective = ToyObjective(noise, at_step or ignore, at_picture or ignore)
    stream = stream or ToyStream(**share)
    trainer = Trainer(config, fabric, objective, stream, validation=validation, resume=state, resume_path=str(path))
    trainer.fit()
    return trainer


EVERYTHING_WITH_STATE = {
    "trainer__save_steps": 2,
    "ema_decay": 0.9,
    "grad_clip": 1.0,
    "lr_sheduler__warmup_steps": 3,
    "lr_sheduler__patience": 0,
    "lr_sheduler__threshold": 0.5,
}


def kill_at(number):
    def at_step(now):
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at_step


def kill_while_saving(number, place):
    """Run in `place`; SIGKILL leaves the `number`th file that torch.save writes half written."""
    save, count = torch.save, 0

    def save_half(content, file):
        nonlocal count
        count += 1
        save(content, file)
        if count == number:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half
    run(place, **EVERYTHING_WITH_STATE)


def in_child(function, *arguments, **keywords):
    """Call in a forked process, which needs no imports of its own; returns its wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        function(*arguments, **keywords)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def killed_and_resumed(folder):
    """Runs for test_trainer_resume.py: one uninterrupted, and one killed at each of several points and resumed."""
    everything = EVERYTHING_WITH_STATE
    statuses = {"alone": in_child(run, folder / "alone", **everything)}
    for number in (1, 4, 5, 6, 8, 15):
        place = folder / f"step {number}"
        statuses[f"kill {number}"] = in_child(run, place, at_step=kill_at(number), **everything)
        statuses[f"resume {number}"] = in_child(run, place, resume=True, **everything)
    for number in (1, 4):
        place = folder / f"save {number}"
        statuses[f"kill save {number}"] = in_child(kill_while_saving, number, place)
        statuses[f"resume save {number}"] = in_child(run, place, resume=True, **everything)
    for number in (2, 6):  # during the first and the last validation
        place = folder / f"validation {number}"
        statuses[f"kill validation {number}"] = in_child(run, place, at_picture=kill_at(number), **everything)
        statuses[f"resume validation {number}"] = in_child(run, place, resume=True, **everything)
    place = folder / "twice"
    statuses["kill twice"] = in_child(run, place, at_step=kill_at(7), **everything)
    statuses["kill again"] = in_child(run, place, at_step=kill_at(4), resume=True, **everything)
    statuses["resume twice"] = in_child(run, place, resume=True, **everything)
    (folder / "statuses.json").write_text(json.dumps(statuses))


def several_processes(folder):
    """Runs for test_trainer_processes.py in each process of torchrun: gradients, resume, a signal to one process."""
    rank = int(os.environ["RANK"])
    write = checkpoints.write_checkpoint

    def record_and_write(path, content):
        with open(folder / "writes.txt", "a") as file:
            file.write(f"{rank} {Path(path).parent.parent.name}/{Path(path).name}\n")
        write(path, content)

    checkpoints.write_checkpoint = record_and_write
    run(folder / "one step", noise=0, trainer__max_steps=1, validate=False)
    run(folder / "joint", noise=0)
    run(folder / "alone", trainer__max_steps=8)
    run(folder / "resumed", trainer__max_steps=3)
    run(folder / "resumed", trainer__max_steps=8, resume=True)

    # As on two hosts with separate folders: only the first process finds a state.
    config = make_config(folder / ("resumed" if rank == 0 else "elsewhere"), trainer__max_steps=9)
    (folder / f"config {rank}.json").write_text(json.dumps(config.dump()))
    command = ["--config", str(folder / f"config {rank}.json"), "--resume", "auto"]
    with redirect_stderr(io.StringIO()) as printed:
        code = run_stage(command, JointConfig, "", lambda config: ToyObjective(), lambda *_: {"stream": ToyStream()})
    (folder / f"apart {rank}.txt").write_text(f"{code} {printed.getvalue()}")

    def signal_one_process(number):
        if number == 3 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        run(folder / "stopped", at_step=signal_one_process)
    except Interrupted as stopped:
        (folder / f"stopped {rank}.txt").write_text(str(stopped))


if __name__ == "__main__":
    with process_group():
        {"kill": killed_and_resumed, "processes": several_processes}[sys.argv[1]](Path(sys.argv[2]))
