"""Export of the networks to ONNX files that accept any image size."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from model.reshalf import ResHalf
from utils.errors import UserError
from utils.files import atomic_write

UPSAMPLE_NEAREST = torch.ops.aten.upsample_nearest2d
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


class _Method(nn.Module):
    """A method of `network` as the forward pass of a module."""

    def __init__(self, network: ResHalf, method: Callable[..., Tensor]):
        super().__init__()
        self.network, self.method = network, method

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.method(*inputs)


def export_onnx(network: ResHalf, folder: Path) -> list[Path]:
    """Write decoder.onnx and encoder.onnx into `folder` and return their paths; modifies `network`.

    Raises UserError when the exporter is not installed or a file cannot be written.
    """
    network.decoder = AnySize(network.decoder)
    written = [_write(_Method(network, network.decode), ["halftone"], "photograph", folder / "decoder.onnx")]
    if network.encoder is not None:
        network.encoder = AnySize(network.encoder)
        encode = _Method(network, lambda colour, condition: network.encode(colour, condition=condition).halftone)
        written.append(_write(encode, ["colour", "condition"], "halftone", folder / "encoder.onnx"))
    return written


def _write(module: nn.Module, inputs: list[str], output: str, path: Path) -> Path:
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
    traced = torch.export.export(module.eval(), examples, dynamic_shapes=((sizes,) * len(inputs),), strict=False)
    nearest = {UPSAMPLE_NEAREST.vec: lambda x, *_: UPSAMPLE_NEAREST(x, [2 * side for side in x.shape[2:]])}
    traced = traced.run_decompositions(nearest)
    program = torch.onnx.export(traced, input_names=inputs, output_names=[output], dynamo=True, verbose=False)
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        value.shape[0], value.shape[2], value.shape[3] = "N", "H", "W"
    return program
