"""Throughput of a joint training step: this loop against the computation of the released loop.

python bench/train_throughput.py [--width 16 64] [--batch 8] [--side 256] [--seconds 60] [--precision bf16-mixed] ...
Reports images/s, peak memory and share of the peak of matrix products. Both loops train the same network on the same
batches in one process, in alternating steps; memory is measured in a separate process for each loop.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from halftone import threads  # noqa: E402, F401  sets the threads before torch loads

# isort: split
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import mse_loss  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from dataset.batches import BatchStream  # noqa: E402
from dataset.photo_set import PhotoSet  # noqa: E402
from model.dct import low_frequency_dct  # noqa: E402
from model.loss import PerceptualLoss, gray, quantize_loss, structure_loss, tone_loss  # noqa: E402
from model.reshalf import ResHalf  # noqa: E402
from reshalf.config import JointConfig  # noqa: E402
from reshalf.stages import joint_objective  # noqa: E402
from training.config import parse_config  # noqa: E402
from training.devices import make_fabric  # noqa: E402
from training.step_graph import EAGER_STEPS
from training.trainer import Trainer  # noqa: E402
from utils.hardware import peak_memory  # noqa: E402

Step = Callable[[], None]
LOOPS = ("released", "ours")
WARM_UP = EAGER_STEPS + 2
"""Steps before the measurement: allocation, selection of kernels, compilation, recording."""


def main(argv: list[str] | None = None) -> int:
    """Measure and print a table; with --out also write it as JSON."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[64] if cuda else [16, 64])
    parser.add_argument("--batch", type=int, default=8 if cuda else 2)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the measurement per width")
    parser.add_argument(
        "--precision", default="bf16-mixed" if cuda else "32-true", help="of our loop; the released one is float32"
    )
    parser.add_argument("--channels_last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cuda_graph", action="store_true")
    parser.add_argument("--no_vgg", action="store_true", help="both loops without the perceptual term")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument(
        "--memory_of", choices=LOOPS, help="only print the peak memory of one loop, bytes, at the first width"
    )
    arguments = parser.parse_args(argv)
    device = torch.device("cuda" if cuda else "cpu")
    if arguments.memory_of:
        print(memory_of_step(arguments, device))
        return 0
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    peaks = {precision: matrix_peak(device, precision) for precision in {"32-true", arguments.precision}}
    peak_text = ", ".join(f"{precision} {peak / 1e12:.3g} TFLOP/s" for precision, peak in peaks.items())
    print(f"{name}; matrix peak measured: {peak_text}; {arguments.side}² pixels, batch {arguments.batch}")
    rows = [row for width in arguments.width for row in measure(width, arguments, peaks, device)]
    print(f"{'width':>5} {'loop':<9} {'images/s':>9} {'gain':>6} {'memory MB':>10} {'GFLOP/step':>11} {'of peak':>8}")
    for row in rows:
        print(
            f"{row['width']:>5} {row['loop']:<9} {row['images_per_second']:>9.3f} {row['gain']:>6.2f} "
            f"{row['memory_mb']:>10.0f} {row['gflop_per_step']:>11.0f} {row['share_of_peak']:>8.1%}"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps({"device": name, "peaks": peaks, "rows": rows}, indent=1) + "\n")
    return 0


def measure(width: int, arguments: argparse.Namespace, peaks: dict[str, float], device: torch.device) -> list[dict]:
    """Rows of the table for both loops at one width."""
    memory = {loop: memory_in_own_process(loop, width) for loop in LOOPS}
    with tempfile.TemporaryDirectory() as folder:
        steps = {loop: make_step(loop, width, arguments, folder, device) for loop in LOOPS}
        flops, times = {}, {loop: [] for loop in LOOPS}
        for loop, step in steps.items():
            # FlopCounterMode counts neither compiled nor recorded operations
            plain = argparse.Namespace(**vars(arguments) | {"compile": False, "cuda_graph": False})
            flops[loop] = count_flops(make_step(loop, width, plain, folder, device))
            for _ in range(WARM_UP):
                step()
        end = time.perf_counter() + arguments.seconds
        while time.perf_counter() < end or len(times["ours"]) < 3:
            for loop, step in steps.items():
                start = time.perf_counter()
                step()
                synchronize(device)
                times[loop].append(time.perf_counter() - start)
    seconds = {loop: statistics.median(values) for loop, values in times.items()}
    return [
        {
            "width": width,
            "loop": loop,
            "images_per_second": arguments.batch / seconds[loop],
            "gain": seconds["released"] / seconds[loop],
            "memory_mb": memory[loop] / 2**20,
            "gflop_per_step": flops[loop] / 1e9,
            "share_of_peak": flops[loop] / seconds[loop] / peaks[arguments.precision if loop == "ours" else "32-true"],
            "steps": len(times[loop]),
        }
        for loop in steps
    ]


def make_step(loop: str, width: int, arguments: argparse.Namespace, folder: str, device: torch.device) -> Step:
    """One step of the joint training by one of LOOPS."""
    vgg = None if arguments.no_vgg else random_vgg19()
    values = {
        "name": "bench",
        "save_dir": folder,
        "multi-gpus": False,
        "width": width,
        "vggLossWeight": 2e-4 if vgg else 0,
        "data_loader": {"batch_size": arguments.batch},
        "precision": arguments.precision,
        "channels_last": arguments.channels_last,
        "compile": arguments.compile,
        "cuda_graph": arguments.cuda_graph,
    }
    config = parse_config(JointConfig, values)
    if loop == "ours":
        return our_step(config, vgg, arguments.side)
    return released_step(config, vgg, arguments.side, device)


def photographs(count: int, side: int) -> PhotoSet:
    """`count` random images of side `side` pixels: the content does not affect the time."""
    random = np.random.default_rng(0)
    reference = random.integers(0, 2, (count, 1, side, side), np.uint8) * np.uint8(255)
    return PhotoSet.from_arrays(random.integers(0, 256, (count, 3, side, side), np.uint8), reference)


def our_step(config: JointConfig, vgg: dict | None, side: int) -> Step:
    """A step of training.trainer with the joint objective, including the batch from dataset.batches."""
    torch.manual_seed(0)
    batch = config.data_loader.batch_size
    perceptual = PerceptualLoss(vgg) if vgg else None
    objective = joint_objective(config, ResHalf(config.width), perceptual)
    stream = BatchStream(photographs(2 * batch, side), photographs(batch, side), batch_size=batch, seed=0)
    trainer = Trainer(config, make_fabric(config), objective, stream)
    batches = trainer.batches()
    return lambda: trainer.train_step(next(batches))


def released_step(config: JointConfig, vgg: dict | None, side: int, device: torch.device) -> Step:
    """The computation of the released loop: two passes through both halves, all terms and both DCTs, used or not.

    The batch is on the device before the measurement.
    """
    torch.manual_seed(0)
    batch = config.data_loader.batch_size
    network = ResHalf(config.width).to(device)
    perceptual = PerceptualLoss(vgg).to(device) if vgg else None
    optimizer = torch.optim.Adam(network.parameters(), lr=config.optimizer.lr)
    photos = BatchStream(photographs(batch, side), photographs(batch, side), batch_size=batch, seed=0, num_workers=0)
    ready = next(photos.batches(0, 0, device))

    def model(colour: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        output = network(colour)
        low = [low_frequency_dct(x / 2 + 0.5, round(side * 50 / 256)) for x in (output.continuous, gray(colour))]
        return output.continuous, *low, output.restored

    def step() -> None:
        optimizer.zero_grad()
        colour, special = ready["colour"], ready["special_colour"]
        continuous, _, _, restored = model(colour)
        special_continuous, special_low, special_target, _ = model(special)
        total = config.toneLossWeight * tone_loss(continuous, gray(colour))
        total = total + config.blueNoiseLossWeight * tone_loss(special_continuous, gray(special))
        quantize = 0.5 * quantize_loss(continuous) + 0.5 * quantize_loss(special_continuous)
        total = total + config.quantizeLossWeight * quantize
        total = total + config.structureLossWeight * structure_loss(continuous, gray(colour))
        total = total + config.blueNoiseLossWeight * (special_low - special_target).abs().mean()
        total = total + config.restoreLossWeight * mse_loss(restored, colour)
        if perceptual is not None:
            total = total + config.vggLossWeight * perceptual(restored, colour)
        total.backward()
        optimizer.step()
        total.item()

    return step


@cache
def random_vgg19() -> dict[str, Tensor]:
    """Untrained VGG19 features: the time does not depend on the weights."""
    from torchvision.models import vgg19

    return {f"features.{key}": value for key, value in vgg19(weights=None).features.state_dict().items()}


def count_flops(step: Step) -> int:
    """Floating-point operations of one step, forward and backward; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_peak(device: torch.device, precision: str) -> float:
    """FLOP/s of the fastest of several square matrix products; on CUDA float32 uses TF32, as convolutions do."""
    side = 8192 if device.type == "cuda" else 2048
    default = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float32
    a = torch.randn(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    torch.set_float32_matmul_precision(default)
    return 2 * side**3 / best


def memory_in_own_process(loop: str, width: int) -> int:
    """`memory_of_step` of one loop in a separate process with the same options, bytes."""
    command = [sys.executable, __file__, *sys.argv[1:], "--width", str(width), "--memory_of", loop]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def memory_of_step(arguments: argparse.Namespace, device: torch.device) -> int:
    """Peak memory of a step of arguments.memory_of, bytes: of CUDA's allocator, or on a CPU of the process."""
    with tempfile.TemporaryDirectory() as folder:
        step = make_step(arguments.memory_of, arguments.width[0], arguments, folder, device)
        step()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            step()
            synchronize(device)
            return torch.cuda.max_memory_allocated()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # reset the peak resident set size (VmHWM)
        step()
    return peak_memory()


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
