"""Export the networks of a checkpoint to ONNX.

    python export.py [--format onnx] [--model CKPT] [--save_dir OUT]

writes OUT/decoder.onnx: halftone (N, 1, H, W) → photograph (N, 3, H, W), and, if the encoder has weights,
OUT/encoder.onnx: colour (N, 3, H, W) and guide (N, 1, H, W) → halftone (N, 1, H, W). All tensors are float32 in
[-1, 1], BGR; a halftone is -1 (black) or 1 (white); the photograph is not clipped. Any N, H, W ≥ 1. The input "guide"
is the encoder's condition: noise of standard deviation 0.3, or the classical halftone for a checkpoint with a prior.
torch 2.6 warns of an ignored guard s0 >= 16, which can be ignored.
Exit code: 0 success, 2 wrong usage.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from jobs.tasks import with_folder
from model.reshalf import ResHalf
from reshalf import SHIPPED, load_reshalf
from utils.command import exit_code
from utils.errors import UserError
from utils.files import atomic_write

DOUBLE = torch.ops.aten.upsample_nearest2d
"""The hourglass's upsampling. torch 2.6 specializes the overload `vec` of `interpolate` to the example's size."""


class AnySize(nn.Module):
    """A network whose reflection padding can be exported with dynamic sizes."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.multiple = 2 ** getattr(network, "levels", 1)  # a Subpixel halves once

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the network's output at the same size."""
        height, width = x.shape[-2:]
        bottom, right = (torch.arange(side, device=x.device)[-1:] for side in (height, width))
        is_line = torch.minimum(bottom, right) == 0
        rows, columns = self._extended(height, bottom, is_line), self._extended(width, right, is_line)
        return self.network(x[:, :, rows][:, :, :, columns])[..., :height, :width]

    def _extended(self, side: int, last: Tensor, is_line: Tensor) -> Tensor:
        """Indices 0, 1, …, last, last - 1, … up to a multiple of `multiple`: `reflect_to_multiple` as a gather.

        Tensors instead of numbers and branches, which the exporter would specialize.
        """
        index = torch.arange((side + self.multiple - 1) // self.multiple * self.multiple, device=last.device)
        period = (2 * last).clamp_min(1)
        reflected = torch.minimum(index % period, period - index % period)
        return torch.where(is_line, torch.minimum(index, last), reflected)


class Decoder(nn.Module):
    """Halftone → photograph, `ResHalf.decode`."""

    def __init__(self, network: ResHalf):
        super().__init__()
        self.network = network

    def forward(self, halftone: Tensor) -> Tensor:
        return self.network.decode(halftone)


class Encoder(nn.Module):
    """Photograph and condition → halftone, `ResHalf.encode`."""

    def __init__(self, network: ResHalf):
        super().__init__()
        self.network = network

    def forward(self, colour: Tensor, condition: Tensor) -> Tensor:
        return self.network.encode(colour, condition=condition).halftone


def export_onnx(network: ResHalf, folder: Path) -> list[Path]:
    """Write decoder.onnx and encoder.onnx into `folder` and return their paths; modifies `network`.

    Raises UserError when the exporter is not installed or a file cannot be written.
    """
    network.decoder = AnySize(network.decoder)
    written = [_write(Decoder(network), ["halftone"], "photograph", folder / "decoder.onnx")]
    if network.encoder is not None:
        network.encoder = AnySize(network.encoder)
        written.append(_write(Encoder(network), ["colour", "guide"], "halftone", folder / "encoder.onnx"))
    return written


def _write(module: nn.Module, inputs: list[str], output: str, path: Path) -> Path:
    with_folder(path)
    try:
        with warnings.catch_warnings(), atomic_write(path) as temporary:
            warnings.simplefilter("ignore")  # torch 2.6 warns of its own constants
            _program(module, inputs, output).save(temporary)
    except ImportError as error:
        raise UserError(f"onnx and onnxscript are needed: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _program(module: nn.Module, inputs: list[str], output: str) -> torch.onnx.ONNXProgram:
    examples = tuple(torch.zeros(2, 3 if name == "colour" else 1, 45, 51) for name in inputs)
    # DYNAMIC, not Dim("H"): torch 2.6 specializes named sizes to the example and then rejects them.
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    traced = torch.export.export(module.eval(), examples, dynamic_shapes=(sizes,) * len(inputs), strict=False)
    traced = traced.run_decompositions({DOUBLE.vec: lambda x, *_: DOUBLE(x, [2 * side for side in x.shape[2:]])})
    program = torch.onnx.export(traced, input_names=inputs, output_names=[output], dynamo=True, verbose=False)
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        value.shape[0], value.shape[2], value.shape[3] = "N", "H", "W"
    return program


def run(args: argparse.Namespace) -> int:
    network = load_reshalf(args.model)
    if network.encoder is None:
        print("no encoder.onnx: this checkpoint halftones by a search, without a network")
    for path in export_onnx(network, args.save_dir):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["onnx"], default="onnx")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped)")
    parser.add_argument("--save_dir", type=Path, default=Path("exported"), help="output folder")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
