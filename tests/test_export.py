"""Exported networks return in ONNX Runtime what they return in torch."""

import errno
import os

import numpy as np
import onnxruntime
import pytest
import torch

import export
from model.noise import NOISE
from model.reshalf import ResHalf
from reshalf import SHIPPED, load_reshalf
from utils.checkpoint import write_checkpoint

SIZES = [(1, 1, 1), (1, 1, 50), (1, 9, 1), (2, 3, 17), (3, 45, 51), (1, 64, 40), (20, 5, 8)]


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Checkpoint of a narrow and shallow network without prior."""
    torch.manual_seed(0)
    network = ResHalf(4, levels=1)
    path = tmp_path_factory.mktemp("paper") / "model_best.pth.tar"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    return path


def run(model, out):
    return export.main(["--format", "onnx", "--model", str(model), "--save_dir", str(out)])


def compared(path, function, *shapes):
    """Absolute differences of the exported network and `function` on random inputs, for each of SIZES.

    shapes  (factory, channels) of every input
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert all(open_sizes(entry) == ["N", "H", "W"] for entry in session.get_inputs() + session.get_outputs())
    torch.manual_seed(1)
    for count, height, width in SIZES:
        inputs = [make(count, channels, height, width) for make, channels in shapes]
        names = [entry.name for entry in session.get_inputs()]
        found = session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))[0]
        with torch.inference_mode():
            expected = function(*inputs).numpy()
        assert found.shape == expected.shape
        yield np.abs(found - expected)


def open_sizes(entry):
    count, _, height, width = entry.shape
    return [count, height, width]


def colours(*shape):
    return torch.rand(shape) * 2 - 1


def noise(*shape):
    return NOISE * torch.randn(shape)


def halftones(*shape):
    return torch.randint(0, 2, shape) * 2.0 - 1


def test_the_exported_shipped_decoder_equals_torch_at_any_size(tmp_path, capsys):
    assert run(SHIPPED, tmp_path) == 0
    assert "no encoder.onnx" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.onnx"]
    for difference in compared(tmp_path / "decoder.onnx", load_reshalf(SHIPPED).decode, (halftones, 1)):
        assert difference.max() < 1e-4


def test_exported_encoder_and_decoder_without_prior_equal_torch_at_any_size(paper, tmp_path, capsys):
    assert run(paper, tmp_path) == 0
    assert capsys.readouterr().out.count("MB") == 2
    network = load_reshalf(paper)
    for difference in compared(tmp_path / "decoder.onnx", network.decode, (halftones, 1)):
        assert difference.max() < 1e-4
    encode = compared(
        tmp_path / "encoder.onnx",
        lambda colour, condition: network.encode(colour, condition=condition).halftone,
        (colours, 3),
        (noise, 1),
    )
    for difference in encode:
        assert (difference > 0).mean() <= 0.001


def test_export_errors_are_one_line_each(paper, tmp_path, capsys, monkeypatch):
    class Program:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def failing(*_):
        raise ImportError("no onnxscript")

    (tmp_path / "file").touch()
    assert run(tmp_path / "missing.pth.tar", tmp_path) == 2
    assert run(paper, tmp_path / "file/out") == 2
    monkeypatch.setattr("model.onnx._program", failing)
    assert run(paper, tmp_path / "out") == 2
    monkeypatch.setattr("model.onnx._program", lambda *_: Program())
    assert run(paper, tmp_path / "out") == 2
    errors = capsys.readouterr().err.splitlines()
    reasons = ["no such checkpoint file", "Not a directory", "no onnxscript", "No space left on device"]
    assert len(errors) == len(reasons) and all(map(str.endswith, errors, reasons))
    assert not list((tmp_path / "out").iterdir())
