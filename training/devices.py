"""Where a training runs: one CPU, one GPU, or as many processes as torchrun or the config asks for."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.strategies import DDPStrategy

from training.config import TrainConfig
from utils.errors import UserError

SLOWEST = timedelta(hours=3)
"""How long processes wait for one another, as when the first halftones a whole data set."""


class _Autocast(MixedPrecision):
    """bfloat16 in what autocast picks, the networks' convolutions; the batch stays float32, so targets are exact."""

    def __init__(self, device: str):
        super().__init__("bf16-mixed", device)

    def convert_input(self, data: Any) -> Any:
        return data


def gather(fabric: Fabric, mine: Any) -> list[Any]:
    """What every process brings, in the order of their ranks."""
    gathered = [mine] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(gathered, mine)
    return gathered


def end_with_parent(seconds: float = 2.0) -> None:
    """Kill this process when its parent has died, looked for every so many seconds.

    Fabric's launcher starts the other processes from the first; without it they would wait until `SLOWEST`.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def first_on_each_host(fabric: Fabric) -> Iterator[None]:
    """The first process of each host goes through the `with` before the others."""
    if fabric.local_rank != 0:
        fabric.barrier()
    yield
    if fabric.local_rank == 0:
        fabric.barrier()


def make_fabric(config: TrainConfig) -> Fabric:
    """Launched Fabric for a config: as many processes as torchrun has started, else one per GPU with `multi-gpus`, or
    on fewer GPUs, saying so, as many as share out the joint batch evenly.

    `cuda: true` without CUDA falls back to the CPU and says so. Raises UserError when the joint batch cannot be shared
    out evenly, a host has fewer GPUs than processes, or `compile` is true where torch cannot compile.
    """
    cuda = config.cuda and torch.cuda.is_available()
    per_host, hosts, gpus = 1, 1, 0
    torchrun = torch.distributed.is_torchelastic_launched()
    if torchrun:
        per_host = int(os.environ["LOCAL_WORLD_SIZE"])
        hosts = int(os.environ["WORLD_SIZE"]) // per_host
    elif cuda and config.multi_gpus:
        gpus = torch.cuda.device_count()
        per_host = next(count for count in range(gpus, 0, -1) if config.data_loader.batch_size % count == 0)
    if cuda and per_host > torch.cuda.device_count():
        raise UserError(f"cuda: found {torch.cuda.device_count()} GPUs for {per_host} processes on this host")
    world = per_host * hosts
    if config.data_loader.batch_size % world:
        batch = config.data_loader.batch_size
        raise UserError(f"data_loader.batch_size: found {batch} for {world} processes, allowed: a multiple of {world}")
    if world > 1 and not config.data_loader.shuffle:
        raise UserError(f"data_loader.shuffle: found false for {world} processes, allowed: true")
    device = "cuda" if cuda else "cpu"
    fabric = Fabric(
        accelerator=device,
        devices=per_host,
        num_nodes=hosts,
        strategy=DDPStrategy(timeout=SLOWEST) if world > 1 else "auto",
        plugins=[_Autocast(device)] if config.precision == "bf16-mixed" else None,
    )
    if world > 1 and not torchrun and os.environ.get("LOCAL_RANK", "0") != "0":
        end_with_parent()
    fabric.launch()
    # What torchrun sets and Fabric's own launcher does not; dataset.photo_set reads it.
    os.environ |= {"RANK": str(fabric.global_rank), "LOCAL_WORLD_SIZE": str(per_host)}
    if config.cuda and not cuda and fabric.is_global_zero:
        print("warning: cuda is true but no CUDA device is here; training on the CPU", file=sys.stderr)
    if per_host < gpus and fabric.is_global_zero:
        reason = f"data_loader.batch_size {config.data_loader.batch_size} is no multiple of more"
        print(f"warning: training on {per_host} of {gpus} GPUs: {reason}", file=sys.stderr)
    torch.backends.cudnn.benchmark = cuda
    if config.compile:
        _check_compiler(fabric.device)
    return fabric


def _check_compiler(device: torch.device) -> None:
    """Compile next to nothing, rather than find out after hours of halftoning; UserError when it cannot be done."""
    try:
        torch.compile(torch.neg)(torch.ones(8, device=device))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)
        raise UserError(f"compile: found true, but torch cannot compile here, set it to false ({reason})") from None
