"""Layers, shapes and checkpoints of the descreening networks, compared with the published system."""

import pytest
import torch
from torch import nn

from descreen.command import load_trained
from descreen.networks import CoarseNet, DetailsNet, EdgeNet, ResidualDiscriminator, TripleDiscriminator, blurred
from descreen.objects import CLASSES, ObjectNet, SmallObjectNet, merge_table
from descreen.system import COARSE_NETS, PARTS, Descreener
from model.load import build_network
from model.reshalf import ResHalf
from utils.checkpoint import write_checkpoint
from utils.errors import UserError


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def coarse_network(width, kind="residual", **settings):
    return Descreener(width, kind=kind, **settings).coarse


def convolutions(network):
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]


@pytest.fixture(scope="module")
def parser():
    with torch.device("meta"):
        return ObjectNet()


@pytest.mark.parametrize(("part", "expected"), [("coarse", 16.8e6), ("edge", 0.106e6), ("details", 0.279e6)])
def test_parameter_counts_at_full_width_match_the_paper(part, expected):
    assert parameters(getattr(Descreener(parts=PARTS), part)) == pytest.approx(expected, rel=0.005)


def test_coarse_net_has_the_published_layers():
    network = Descreener().coarse
    assert convolutions(network.down) == [
        (3, 64, 4, 2),
        (64, 128, 4, 2),
        (128, 256, 4, 2),
        (256, 512, 4, 2),
        (512, 512, 4, 2),
    ]
    assert [any(isinstance(layer, nn.BatchNorm2d) for layer in part) for part in network.down] == [0, 1, 1, 1, 0]
    assert convolutions(network.up) == [
        (512, 512, 4, 2),
        (1024, 256, 4, 2),
        (512, 128, 4, 2),
        (256, 64, 4, 2),
        (128, 64, 4, 2),
    ]
    assert convolutions(network.out) == [(64, 64, 3, 1), (64, 3, 3, 1)]


def test_residual_coarse_has_levels_at_a_half_a_quarter_and_an_eighth_of_the_resolution():
    network = coarse_network(48, deepest=128)
    assert convolutions(network.before) == [(48, 48, 3, 1)] * 4 + [(96, 96, 3, 1)] * 4 + [(128, 128, 3, 1)] * 4
    assert convolutions(network.after) == [(48, 48, 3, 1)] * 4 + [(96, 96, 3, 1)] * 2
    assert convolutions(network.shrink) == [(48, 96, 2, 2), (96, 128, 2, 2)]
    assert convolutions(network.grow) == [(96, 4 * 48, 1, 1), (128, 4 * 96, 1, 1)]
    assert convolutions(network.enter) == [(12, 48, 3, 1)] and convolutions(network.leave) == [(48, 12, 3, 1)]
    assert convolutions(coarse_network(48, waves=True).enter) == [(28, 48, 3, 1)]
    assert convolutions(coarse_network(8).shrink) == [(8, 16, 2, 2), (16, 32, 2, 2)]


def test_the_end_of_an_unaligned_side_is_restored_from_an_aligned_crop():
    torch.manual_seed(0)
    network = coarse_network(8, blur=1.0).eval()
    nn.init.normal_(network.leave[-1].weight, std=0.1)
    scan = torch.rand(1, 3, 165, 139)
    out = network(scan)
    assert out.shape == scan.shape
    torch.testing.assert_close(out[..., -32:, -32:], network(scan[..., -128:, -128:])[..., -32:, -32:])
    torch.testing.assert_close(out[..., :-32, :-32], network(scan[..., :160, :136])[..., : 165 - 32, : 139 - 32])


@pytest.mark.parametrize("kind", COARSE_NETS)
def test_a_coarse_network_with_blur_initially_outputs_the_blurred_scan(kind):
    scan = torch.rand(1, 3, 64, 96) * 2 - 1
    network = coarse_network(8, kind=kind, blur=1.5).eval()
    torch.testing.assert_close(network(scan), blurred(scan, 1.5))


@pytest.mark.parametrize("kind", COARSE_NETS)
def test_wave_channels_affect_only_networks_built_with_waves(kind):
    torch.manual_seed(0)
    scan = torch.rand(1, 7, 64, 40)
    for waves in (False, True):
        network = Descreener(4, ("coarse", "edge", "details"), kind=kind, waves=waves).eval()
        for parameter in network.coarse.parameters():
            nn.init.normal_(parameter, std=0.1)
        other = torch.cat((scan[:, :3], -scan[:, 3:]), dim=1)
        assert torch.equal(network.restore(scan), network.restore(other)) != waves


@pytest.mark.parametrize("parts", [("coarse",), ("coarse", "edge", "details")])
@pytest.mark.parametrize(
    "settings",
    [{"kind": kind} for kind in COARSE_NETS] + [{"kind": "residual", "down_blocks": [2, 3, 3], "up_blocks": [3, 2, 0]}],
)
def test_the_receptive_field_is_within_the_stated_radius(settings, parts):
    network = Descreener(4, parts, deepest=8, **settings).eval()
    for parameter in network.parameters():  # positive weights: gradients cannot cancel
        nn.init.uniform_(parameter, 0.01, 0.05)
    scan = torch.rand(1, 3, 384, 32).double().requires_grad_()
    network.double()(scan).restored[..., 160:192, :].sum().backward()
    rows, radius = scan.grad.abs().sum(dim=(0, 1, 3)).nonzero(), network.receptive_radius
    assert 160 - radius <= rows.min() < 160 - radius + 32 and 191 + radius - 32 < rows.max() <= 191 + radius


def test_edge_net_details_net_and_discriminators_have_the_published_layers():
    assert convolutions(EdgeNet()) == [(3, 32, 5, 1), *[(32, 32, 5, 1)] * 4, (32, 1, 3, 1)]
    assert convolutions(DetailsNet()) == [(32, 64, 3, 1), *[(64, 64, 3, 1)] * 7, (64, 3, 3, 1)]
    widths = [128, 256, 512, 1024, 2048]
    with torch.device("meta"):
        first, second = ResidualDiscriminator(), TripleDiscriminator()
    steps = list(zip(widths, widths[1:], strict=False))
    assert convolutions(first) == [(3, 128, 4, 2), *[(a, b, 4, 2) for a, b in steps], (2048, 1, 1, 1)]
    assert convolutions(second) == [(9, 128, 5, 2), *[(a, b, 5, 2) for a, b in steps], (2048, 1, 4, 1)]
    for network in (first, second):
        assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == 4


@pytest.mark.parametrize("kind", COARSE_NETS)
@pytest.mark.parametrize("size", [(1, 1), (5, 70), (32, 64), (45, 33)])
def test_any_input_size_is_preserved(size, kind):
    network = Descreener(4, ("coarse", "edge", "details"), "small", kind=kind).eval()
    out = network(torch.rand(2, 3, *size))
    assert out.restored.shape == out.coarse.shape == out.residual.shape == (2, 3, *size)
    assert out.edges.shape == (2, 1, *size) and 0 <= out.edges.min() <= out.edges.max() <= 1
    assert torch.equal(out.restored, out.coarse + out.residual)


def test_discriminators_accept_small_and_odd_sizes():
    picture = torch.rand(1, 3, 40, 72)
    assert ResidualDiscriminator(2).eval()(picture).shape == (1, 1, 1, 2)
    assert TripleDiscriminator(2).eval()(picture, picture, picture).shape == (1, 1, 1, 1)
    large = torch.rand(1, 3, 224, 256)
    assert TripleDiscriminator(2).eval()(large, large, large).shape == (1, 1, 1, 2)


def test_each_scene_class_belongs_to_at_most_one_object():
    table = merge_table()
    assert table.shape == (25, 150) and len(CLASSES) == 25
    assert table.sum(0).max() == 1
    # Spot checks against the class list of ADE20K, 0-based: windowpane 8, grass 9, sidewalk 11, path 52.
    names = list(CLASSES)
    assert table[:, 8].sum() == 0
    assert [names[int(table[:, index].argmax())] for index in (9, 11, 52, 54, 127, 66)] == [
        "plant",
        "road",
        "road",
        "road",
        "car",
        "plant",
    ]


def test_the_parser_matches_the_layout_of_the_public_weights(parser):
    state = parser.state_dict()
    shapes = {
        "encoder.conv1.weight": (64, 3, 3, 3),
        "encoder.conv3.weight": (128, 64, 3, 3),
        "encoder.layer1.0.conv1.weight": (64, 128, 1, 1),
        "encoder.layer1.0.downsample.0.weight": (256, 128, 1, 1),
        "encoder.layer3.22.bn3.running_var": (1024,),
        "encoder.layer4.2.conv3.weight": (2048, 512, 1, 1),
        "decoder.ppm.3.1.weight": (512, 2048, 1, 1),
        "decoder.ppm.0.2.bias": (512,),
        "decoder.conv_last.0.weight": (512, 4096, 3, 3),
        "decoder.conv_last.4.bias": (150,),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    dilations = {layer.dilation[0] for layer in parser.encoder.layer4.modules() if isinstance(layer, nn.Conv2d)}
    assert dilations == {1, 2, 4}
    assert parser.encoder(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 2048, 8, 12)
    assert parser(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 25, 64, 96)
    assert not parser.train().training and not any(parameter.requires_grad for parameter in parser.parameters())


def test_public_weights_load_from_two_files_and_unfitting_ones_are_errors(parser, tmp_path):
    network = ObjectNet()
    torch.save(network.encoder.state_dict(), tmp_path / "encoder_epoch_25.pth")
    with pytest.raises(UserError, match=r"one decoder\*\.pth, contains 0"):
        network.load_public_weights(tmp_path)
    bias = torch.arange(150.0)
    decoder = network.decoder.state_dict() | {"conv_last.4.bias": bias, "conv_last_deepsup.weight": bias}
    torch.save(decoder, tmp_path / "decoder_epoch_25.pth")
    network.load_public_weights(tmp_path)
    assert torch.equal(network.decoder.conv_last[4].bias, bias)
    torch.save({"conv_last.4.bias": bias}, tmp_path / "decoder_epoch_25.pth")
    with pytest.raises(UserError, match="decoder_epoch_25.pth does not fit"):
        network.load_public_weights(tmp_path)


def test_object_maps_of_the_small_network_are_probabilities():
    maps = SmallObjectNet(8).eval()(torch.rand(1, 3, 19, 33))
    assert maps.shape == (1, 25, 19, 33)
    torch.testing.assert_close(maps.sum(1), torch.ones(1, 19, 33))


@pytest.mark.parametrize(
    ("parts", "objects", "coarse"),
    [
        (("coarse",), "none", {"kind": "residual", "deepest": 12, "blur": 1.0, "tone": True}),
        (("coarse", "edge"), "none", {"deepest": 12}),
        (("coarse", "edge", "details"), "small", {"kind": "residual"}),
    ],
)
def test_a_checkpoint_suffices_to_rebuild_the_system(parts, objects, coarse):
    network = Descreener(4, parts, objects, **coarse).eval()
    half = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    again = build_network({"state_dict": half, "arch": network.arch()})
    assert again.arch() == network.arch()
    scan = torch.rand(1, 3, 40, 24)
    torch.testing.assert_close(again.restore(scan), network.restore(scan), atol=1e-2, rtol=1e-2)


def test_a_checkpoint_without_kind_holds_the_u_net():
    network = Descreener(4, deepest=12, blur=1.0)
    arch = network.arch()
    assert arch.pop("kind") == "unet"
    again = build_network({"state_dict": network.state_dict(), "arch": arch})
    assert isinstance(again.coarse, CoarseNet) and again.coarse.blur == 1.0


def test_other_checkpoints_and_invalid_settings_are_errors(tmp_path):
    network, other = Descreener(4), ResHalf(4)
    write_checkpoint(tmp_path / "other.pth.tar", {"state_dict": other.state_dict(), "arch": other.arch()})
    with pytest.raises(UserError, match="not a descreening checkpoint: contains ResHalf"):
        load_trained(tmp_path / "other.pth.tar")
    with pytest.raises(ValueError, match="weights do not fit"):
        build_network({"state_dict": other.state_dict(), "arch": network.arch()})
    with pytest.raises(ValueError, match="unknown objects 'cars'"):
        Descreener(4, objects="cars")
    with pytest.raises(ValueError, match="unknown coarse network 'net', known: unet, residual"):
        Descreener(4, kind="net")
    with pytest.raises(ValueError, match="parts must be"):
        Descreener(4, ("details",))
