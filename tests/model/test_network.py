"""The networks against the released ones, and rebuilding them from checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.hourglass import HourGlass, reflect_to_multiple
from model.load import build_network
from model.prior import Prior
from model.quantizer import quantize
from model.reshalf import InverseHalf, ResHalf
from utils.checkpoint import strip_prefixes

GOLDEN = Path(__file__).parents[1] / "golden"


def photos(count=1, height=24, width=32, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("network", "file", "parameters"),
    [(ResHalf, "reshalf_keys.json", 75_645_124), (InverseHalf, "inversehalf_keys.json", 37_821_633)],
)
def test_state_dict_has_the_released_keys_and_shapes(network, file, parameters):
    with torch.device("meta"):
        state = network(64).state_dict()
    assert [[key, list(value.shape)] for key, value in state.items()] == json.loads((GOLDEN / file).read_text())["keys"]
    assert sum(value.numel() for value in state.values()) == parameters


def test_forward_equals_the_released_network():
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "reshalf_forward.npz").items()}
    state = {}
    with torch.device("meta"):
        expected = ResHalf(64).state_dict()
    for index, (key, value) in enumerate(expected.items()):
        values = np.random.RandomState(1000 + index).standard_normal(value.numel())
        gain = 1.7 if key.startswith("encoder") else 1.2
        values *= np.sqrt(gain / np.prod(value.shape[1:])) if value.ndim > 1 else 0.01
        state["module." + key] = torch.from_numpy(values.astype(np.float32)).view(value.shape)
    network = build_network({"state_dict": strip_prefixes(state)})
    assert network.width == 64
    with torch.inference_mode():
        encoded = network.encode(golden["color"], condition=golden["noise_channel"])
        restored = network.decode(golden["halftone"])
    torch.testing.assert_close(encoded.continuous, golden["halfRes"], rtol=0, atol=1e-4)
    torch.testing.assert_close(restored, golden["restored"], rtol=0, atol=1e-5)
    within = golden["halfRes"].abs() <= 2  # beyond, the released quantizer leaves {-1, 1}
    assert torch.equal(encoded.halftone[within], golden["halftone"][within])
    assert set(encoded.halftone.unique().tolist()) == {-1.0, 1.0}


def test_quantizer_rounds_clamps_and_passes_the_gradient_unchanged():
    golden = np.load(GOLDEN / "losses.npz")
    x = torch.from_numpy(golden["quantizer_in"]).requires_grad_()
    y = quantize(x)
    y.backward(torch.from_numpy(golden["quant_grad_weight"]))
    assert torch.equal(y.detach(), torch.from_numpy(golden["quantizer_out"]).clamp(-1, 1))
    assert torch.equal(x.grad, torch.from_numpy(golden["quantizer_grad"]))
    assert quantize(torch.tensor([-7.0, -0.1, 0.0, 0.1, 7.0])).tolist() == [-1, -1, -1, 1, 1]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 13), (7, 2), (8, 8), (9, 17)])
def test_an_hourglass_accepts_any_size(height, width):
    network = HourGlass(3, 1, width=4)
    assert network(photos(2, height, width)).shape == (2, 1, height, width)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_fewer_levels_are_the_upper_levels_of_the_whole_network(levels):
    whole, part = HourGlass(3, 1, width=4), HourGlass(3, 1, width=4, levels=levels)
    shapes = {key: value.shape for key, value in whole.state_dict().items() if not key.startswith("residual")}
    for key, value in part.state_dict().items():
        if not key.startswith("residual"):
            assert value.shape == shapes[key]
    assert part(photos(1, 9, 17)).shape == (1, 1, 9, 17)
    assert sum(key.startswith("down") and key.endswith("0.conv.weight") for key in part.state_dict()) == levels


def test_the_number_of_levels_is_one_to_three():
    for levels in (0, 4):
        with pytest.raises(ValueError, match="levels must be 1 to 3"):
            HourGlass(3, 1, width=4, levels=levels)


def test_the_initialization_with_a_prior_preserves_the_variance_at_the_lowest_level():
    torch.manual_seed(0)
    decoder = ResHalf(width=16, prior={}).decoder
    x = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        full = decoder.inConv(x)
        deep = decoder.residual(decoder.down3(decoder.down2(decoder.down1(full))))
    assert 0.2 < deep.std() / full.std() < 5  # with torch's default initialization: 0.001
    colour = photos(1, 16, 16)
    network = ResHalf(width=4, prior={}, levels=1)
    halftone = network.encode(colour).halftone
    assert torch.equal(network.decode(halftone), network.prior.demodulate(halftone))


def test_a_checkpoint_contains_the_number_of_levels():
    network = ResHalf(width=4, prior={}, levels=1)
    rebuilt = build_network({"state_dict": network.state_dict(), "arch": network.arch()})
    assert rebuilt.levels == 1 and rebuilt.arch() == network.arch()


def test_aligned_images_are_not_extended_and_others_are_reflected():
    x = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    assert reflect_to_multiple(x, 8) is x
    extended = reflect_to_multiple(x[..., :6], 8)
    assert extended[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]
    assert reflect_to_multiple(x[..., :3], 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_forward_is_encode_then_decode():
    torch.manual_seed(0)
    network = ResHalf(4)
    with torch.no_grad():
        torch.manual_seed(1)
        output = network(photos())
        torch.manual_seed(1)
        encoded = network.encode(photos(), seed=None)
        assert torch.equal(output.continuous, encoded.continuous)
        assert torch.equal(output.restored, network.decode(encoded.halftone))


def test_the_halftone_of_a_seed_does_not_depend_on_the_batch():
    network = ResHalf(4)
    batch = photos(3)
    with torch.no_grad():
        alone = network.encode(batch[1:2], seed=5).continuous
        together = network.encode(batch, seed=5).continuous[1:2]
        other = network.encode(batch[1:2], seed=6).continuous
    torch.testing.assert_close(alone, together)
    assert not torch.allclose(alone, other)


@pytest.mark.parametrize("prior", [None, Prior(), Prior(halftone="error_diffusion", correction=True, beta=0.5)])
@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_alone_rebuilds_the_network(prior, half):
    torch.manual_seed(0)
    network = ResHalf(4, prior)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
        parameter.data = parameter.data.half().float()
    state = {key: value.half() if half else value for key, value in network.state_dict().items()}
    rebuilt = build_network({"state_dict": state, "arch": json.loads(json.dumps(network.arch()))})
    with torch.no_grad():
        first, second = network.encode(photos()), rebuilt.encode(photos())
        assert torch.equal(first.halftone, second.halftone)
        assert torch.equal(network.decode(first.halftone), rebuilt.decode(second.halftone))


def test_the_width_is_inferred_from_the_shapes():
    assert build_network({"state_dict": ResHalf(8).state_dict()}).width == 8
    assert isinstance(build_network({"state_dict": InverseHalf(4).state_dict()}), InverseHalf)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("decoder.outConv.2.bias"), "1 missing (decoder.outConv.2.bias)"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected (extra)"),
        (lambda state: state.update({"encoder.outConv.0.bias": torch.zeros(5)}), "encoder.outConv.0.bias is (5,)"),
        (lambda state: state.update({"encoder.outConv.0.bias": torch.full((4,), torch.nan)}), "not finite"),
        (lambda state: [state.pop(key) for key in list(state) if key.startswith("decoder")], "other architecture"),
        (lambda state: state.clear(), "no state_dict"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, words):
    state = ResHalf(4).state_dict()
    change(state)
    with pytest.raises(ValueError, match="^[^\n]*$") as error:
        build_network({"state_dict": state})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("resnet50", "other architecture"),
        ({"name": "ResNet"}, "unknown network"),
        ({"name": "ResHalf"}, "must be an integer, not None"),
    ],
)
def test_foreign_checkpoints_are_rejected_in_one_line(arch, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        build_network({"state_dict": {"conv1.weight": torch.zeros(1)}, "arch": arch})
