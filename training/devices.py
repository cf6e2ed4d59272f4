"""Devices and processes of a training: one CPU, one GPU, or several processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.strategies import DDPStrategy

from halftone.threads import thread_count
from training.config import TrainConfig
from utils.errors import Interrupted, UserError
from utils.hardware import has_bf16
from utils.processes import end_with_parent

COLLECTIVE_TIMEOUT = timedelta(hours=3)
"""Longest wait of a process for the others, for example at the end of a validation."""


class _Autocast(MixedPrecision):
    """bfloat16 autocast for the networks; the batch stays in float32, so that targets are exact."""

    def __init__(self, device: str):
        super().__init__("bf16-mixed", device)

    def convert_input(self, data: Any) -> Any:
        return data


def gather(fabric: Fabric, value: Any) -> list[Any]:
    """The picklable `value` of every process, in the order of the ranks."""
    gathered = [value] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(gathered, value)
    return gathered


@contextmanager
def process_group() -> Iterator[None]:
    """Destroy the group of `make_fabric` after the block and after a signal in it, where all processes stop together.

    Otherwise gloo may abort a process at its exit. After an error the others may still wait for this process, so its
    group ends with it.
    """
    try:
        yield
    except Interrupted:
        _destroy_group()
        raise
    _destroy_group()


def _destroy_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def make_fabric(config: TrainConfig) -> Fabric:
    """Fabric for a config, its processes launched.

    Precision: float32 instead of bfloat16, with a warning, on a CPU that would only emulate it.
    Processes: those of torchrun; otherwise with `multi-gpus` one per GPU, on the largest number of GPUs that divides
    the joint batch. A warning reports unused GPUs, and CUDA that is configured but missing (the CPU is used). Raises
    UserError when the joint batch is not divisible by the number of torchrun's processes or not shuffled, a host has
    fewer GPUs than processes, or `compile` is true and torch cannot compile.
    """
    batch = config.data_loader.batch_size
    cuda = config.cuda and torch.cuda.is_available()
    per_host, hosts, gpus = 1, 1, 0
    torchrun = torch.distributed.is_torchelastic_launched()
    if torchrun:
        per_host = int(os.environ["LOCAL_WORLD_SIZE"])
        hosts = int(os.environ["WORLD_SIZE"]) // per_host
    elif cuda and config.multi_gpus:
        gpus = torch.cuda.device_count()
        per_host = next(count for count in range(gpus, 0, -1) if batch % count == 0)
    if cuda and per_host > torch.cuda.device_count():
        raise UserError(f"cuda: found {torch.cuda.device_count()} GPUs for {per_host} processes on this host")
    world = per_host * hosts
    for key in ("batch_size", "special_batch_size"):
        if (count := getattr(config.data_loader, key) or world) % world:
            raise UserError(f"data_loader.{key}: found {count} for {world} processes, allowed: a multiple of {world}")
    if world > 1 and not config.data_loader.shuffle:
        raise UserError(f"data_loader.shuffle: found false for {world} processes, allowed: true")
    device = "cuda" if cuda else "cpu"
    bf16 = config.precision == "bf16-mixed" and (cuda or has_bf16(torch.device("cpu")))
    fabric = Fabric(
        accelerator=device,
        devices=per_host,
        num_nodes=hosts,
        strategy=DDPStrategy(timeout=COLLECTIVE_TIMEOUT) if world > 1 else "auto",
        plugins=[_Autocast(device)] if bf16 else None,
    )
    if world > 1 and not torchrun and os.environ.get("LOCAL_RANK", "0") != "0":
        end_with_parent()
    fabric.launch()
    # Set by torchrun but not by Fabric's launcher; read by dataset.photo_set.
    os.environ |= {"RANK": str(fabric.global_rank), "LOCAL_WORLD_SIZE": str(per_host)}
    if per_host > 1:
        torch.set_num_threads(thread_count(per_host))
    if config.cuda and not cuda and fabric.is_global_zero:
        print("warning: cuda is true but there is no CUDA device; training on the CPU", file=sys.stderr)
    if config.precision == "bf16-mixed" and not bf16 and fabric.is_global_zero:
        reason = "this processor has no bfloat16 instructions"
        print(f"warning: precision is bf16-mixed, but {reason}; training in float32", file=sys.stderr)
    if per_host < gpus and fabric.is_global_zero:
        reason = f"data_loader.batch_size {batch} is not divisible by more"
        print(f"warning: training on {per_host} of {gpus} GPUs: {reason}", file=sys.stderr)
    torch.backends.cudnn.benchmark = cuda
    if cuda:
        torch.set_float32_matmul_precision("high")  # TF32, as cuDNN's convolutions use by default
    if config.compile:
        _check_compiler(fabric.device)
    return fabric


def _check_compiler(device: torch.device) -> None:
    """Compile a trivial function: fails before hours of halftoning. Raises UserError when torch cannot compile."""
    try:
        torch.compile(torch.neg)(torch.ones(8, device=device))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)
        raise UserError(f"compile: found true, but torch cannot compile here, set it to false ({reason})") from None
