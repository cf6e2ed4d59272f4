"""Export the networks of a checkpoint to ONNX.

    python export.py [--format onnx] [--model CKPT] [--save_dir OUT]

writes OUT/decoder.onnx: halftone (N, 1, H, W) → photograph (N, 3, H, W), and, if the encoder has weights,
OUT/encoder.onnx: colour (N, 3, H, W) and condition (N, 1, H, W) → halftone (N, 1, H, W). All tensors are float32 in
[-1, 1], BGR; a halftone is -1 (black) or 1 (white); the photograph is not clipped. Any N, H, W ≥ 1. The condition is
noise of standard deviation 0.3 (white or blue, as in training: model/noise.py), or the classical halftone for a
checkpoint with a prior.
torch 2.6 warns of an ignored guard s0 >= 16, which can be ignored.
Exit code: 0 success, 2 wrong usage.
"""

import argparse
import sys
from pathlib import Path

from model.onnx import export_onnx
from reshalf import SHIPPED, load_reshalf
from utils.command import exit_code
from utils.files import check_writable


def run(args: argparse.Namespace) -> int:
    network = load_reshalf(args.model)
    if network.encoder is None:
        print("no encoder.onnx: this checkpoint halftones by a search, without a network")
    check_writable(args.save_dir)
    for path in export_onnx(network, args.save_dir):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["onnx"], default="onnx")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped one)")
    parser.add_argument("--save_dir", type=Path, default=Path("exported"), help="output folder (default: %(default)s)")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
