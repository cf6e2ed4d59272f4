"""Time of halftoning and restoring, compared with the paper's network.

    python bench/inference_speed.py [--model CKPT] [--sides 512 1024 2048] [--repeats 3] [--device cpu]

prints seconds per megapixel (best of the repeats, without file access) and peak RSS of each row, and peak CUDA memory
where CUDA is used. Every row runs in its own process:
    shipped            the checkpoint as inference_fast.py runs it
    autograd gradient  the same with torch's autograd in place of model/error_gradient.py's numba loops (on CPUs)
    rounds 0           the same with --rounds 0: a search without the proxy
    fast               the same with --fast
    best               the same with --best, a single run
    bfloat16           restored in bfloat16 instead of int8
    float32            restored in float32, with the proxy's int8 arithmetic emulated in float32, as on a processor
                       without int8 instructions; also the differences to the default in PSNR and halftone pixels
    paper              the paper's 64-channel network with random weights in float32, eager, untiled, as its authors'
                       code runs it; on a CPU a single run
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from halftone import threads  # noqa: E402, F401  sets the threads before torch loads

# isort: split
import torch  # noqa: E402

from images.files import read_image, write_halftone, write_image  # noqa: E402
from metrics.quality import psnr, tone_psnr  # noqa: E402
from model import error_gradient, fixed_point, guidance  # noqa: E402
from model.load import load_network  # noqa: E402
from model.reshalf import ResHalf  # noqa: E402
from reshalf import SHIPPED  # noqa: E402
from reshalf.codec import ResHalfCodec  # noqa: E402
from utils.command import exit_code  # noqa: E402
from utils.hardware import peak_memory  # noqa: E402

ROWS = ("shipped", "autograd gradient", "rounds 0", "fast", "best", "bfloat16", "float32", "paper")
PHOTO = ROOT / "test_imgs/china.jpg"


def photo(side: int) -> np.ndarray:
    """(side, side, 3) BGR uint8: a photograph, extended by reflection."""
    bgr = read_image(PHOTO).bgr
    height, width = bgr.shape[:2]
    return cv2.copyMakeBorder(bgr, 0, max(side - height, 0), 0, max(side - width, 0), cv2.BORDER_REFLECT)[:side, :side]


def codec_of(row: str, model: Path, device: str | None) -> ResHalfCodec:
    if row == "paper":
        torch.manual_seed(0)
        return ResHalfCodec(ResHalf(64), device, tile=1 << 20, precision="float32")
    network = load_network(model)
    rounds = 0 if row == "rounds 0" and network.proxy is not None else None
    precision = row if row in ("float32", "bfloat16") else None
    return ResHalfCodec(network, device, precision=precision, fast=row == "fast", rounds=rounds, best=row == "best")


def timed(function, repeats: int) -> tuple[np.ndarray, float]:
    """Result and minimum seconds of `repeats` calls after a warm-up call; of the latter if `repeats` is 0."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds[1:] or seconds)


def measure(row: str, side: int, args: argparse.Namespace) -> dict:
    """One row, in this process: seconds per megapixel of each step, quality, and peak memory in MB."""
    if row == "autograd gradient":
        with patch.object(guidance, "error_gradient", by_autograd):
            return measure_codec(row, side, args)[0]
    if row == "float32":
        with patch.object(fixed_point, "has_integer_convolution", return_value=False):
            found, halftone = measure_codec(row, side, args)
        default = codec_of("shipped", args.model, args.device)
        bgr = photo(side)
        found["same"] = float((default.halftone(bgr) == halftone).mean())
        found["default_psnr"] = psnr(bgr, default.restore(halftone))
        return found
    return measure_codec(row, side, args)[0]


def by_autograd(prior, proxy, bgr: np.ndarray, halftone: np.ndarray) -> np.ndarray:
    """`error_gradient` without its numba loops."""
    with error_gradient.parallel_loop():
        return error_gradient.by_autograd(prior, proxy, bgr, halftone, proxy.device)


def measure_codec(row: str, side: int, args: argparse.Namespace) -> tuple[dict, np.ndarray]:
    """The measurements of a row and its halftone."""
    codec, bgr = codec_of(row, args.model, args.device), photo(side)
    megapixels = side * side / 1e6
    slow = row in ("paper", "best") and codec.device.type == "cpu"
    repeats = 0 if slow else args.repeats  # minutes each
    halftone, dither = timed(lambda: codec.halftone(bgr), repeats)
    restored, restore = timed(lambda: codec.restore(halftone), repeats)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("photo.png", "halftone.png", "restored.png")]
        write_image(files[0], bgr)
        start = time.perf_counter()
        read_image(files[0])
        write_halftone(files[1], halftone)
        write_image(files[2], restored)
        files_seconds = time.perf_counter() - start
    on_device = f", {torch.cuda.max_memory_allocated() / 1e6:.0f} MB on it" if codec.device.type == "cuda" else ""
    found = {
        "dither": dither / megapixels,
        "restore": restore / megapixels,
        "files": files_seconds / megapixels,
        "peak": peak_memory() / 1e6,
        "psnr": psnr(bgr, restored),
        "tone": tone_psnr(halftone, bgr),
        "device": f"{codec.device} {codec.precision}{on_device}",
    }
    if row == "shipped":
        part = halftone[:768, :768]
        whole, tiled = (
            ResHalfCodec(codec.network, args.device, tile=tile).restore(part).astype(int) for tile in (768, 256)
        )
        found["seam"] = int(np.abs(whole - tiled).max())
    return found, halftone


def compare(args: argparse.Namespace) -> int:
    """Print the table; every row is measured in its own process."""
    load_network(args.model)  # fails early for a wrong file
    print(
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, seconds/megapixel"
    )
    print(f"{'':25}{'dither':>9}{'restore':>9}{'both':>9}{'files':>9}{'peak MB':>9}{'PSNR dB':>9}{'tone dB':>9}")
    common = ["--model", str(args.model), "--repeats", str(args.repeats)]
    common += ["--device", args.device] if args.device else []
    for side in args.sides:
        for row in args.rows:
            command = [sys.executable, __file__, *common, "--one", row, str(side)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = f"exit code {done.returncode} (-9: out of memory)"
                print(f"{row:17}{side:6}²  failed: {(done.stderr.strip() or reason).splitlines()[-1]}")
                continue
            found = json.loads(done.stdout)
            both = found["dither"] + found["restore"]
            quality = "" if row == "paper" else f"{found['psnr']:9.2f}{found['tone']:9.2f}"
            print(
                f"{row:17}{side:6}² {found['dither']:9.3f}{found['restore']:9.3f}{both:9.3f}{found['files']:9.3f}"
                f"{found['peak']:9.0f}{quality}  {found['device']}"
            )
            if row == "shipped":
                print(f"{'':25}tiles differ from the whole image by at most {found['seam']} of 255")
            if row == "float32":
                change = found["default_psnr"] - found["psnr"]
                print(
                    f"{'':25}the default differs by {change:+.3f} dB, {found['same']:.4%} of halftone pixels the same"
                )
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]), args)))
        return 0
    return exit_code(lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
