"""Levels into tensors and back, without loss."""

import numpy as np
import pytest
import torch

from utils.pixels import to_tensor, to_uint8

BGR = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
RGB = BGR[..., ::-1]


def test_tensor_range_and_layout():
    tensor = to_tensor(BGR)
    assert tensor.shape == (1, 3, 37, 53) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    np.testing.assert_array_equal(tensor[0, 2].numpy(), (RGB[..., 0] / np.float32(127.5) - 1).astype(np.float32))
    assert to_tensor(np.array([[0, 255]], np.uint8)).tolist() == [[[[-1.0, 1.0]]]]


def test_every_level_survives_the_tensor():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(to_uint8(to_tensor(levels)), levels)
    np.testing.assert_array_equal(to_uint8(to_tensor(BGR)), BGR)
    np.testing.assert_array_equal(to_uint8(to_tensor(BGR)[0]), BGR)


def test_saving_saturates_and_rounds_half_to_even():
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 5)
    assert to_uint8(values).tolist() == [[0, 0, 128, 255, 255]]
    random = torch.from_numpy(np.random.default_rng(3).uniform(-1.2, 1.2, (1, 3, 50, 50)).astype(np.float32))
    expected = np.rint((random.numpy() / np.float32(2) + np.float32(0.5)) * np.float32(255)).clip(0, 255)
    np.testing.assert_array_equal(to_uint8(random), expected[0].transpose(1, 2, 0).astype(np.uint8))


def test_a_batch_is_not_one_image():
    with pytest.raises(ValueError, match="batch of 2"):
        to_uint8(torch.zeros(2, 3, 4, 4))
