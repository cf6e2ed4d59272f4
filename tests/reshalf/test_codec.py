"""ResHalfCodec: tiles, precisions, options, errors."""

from pathlib import Path
from threading import Thread

import numba
import numpy as np
import pytest
import torch

from images.files import read_image
from images.listing import list_images
from metrics.quality import psnr
from model.hourglass import keep_variance
from model.load import load_network
from model.prior import Prior
from model.reshalf import BEST_ROUNDS, ResHalf
from model.tiler import threads_for
from reshalf.codec import ResHalfCodec, mirrored_mean
from utils.errors import UserError
from utils.pixels import to_tensor
from utils.tiling import windows

ROOT = Path(__file__).parents[2]


def network(prior=None):
    torch.manual_seed(0)
    return ResHalf(4, prior)


def photo(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([128 + 100 * np.sin(x / 9 + y / phase) for phase in (5, 11, 23)], -1).round().astype(np.uint8)


@pytest.mark.parametrize("prior", [None, Prior(), Prior(halftone="error_diffusion", correction=True)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (130, 203), (137, 65)])
def test_tiles_equal_the_whole_image(prior, height, width):
    bgr = photo(height, width)
    whole, tiled = (ResHalfCodec(network(prior), "cpu", tile=tile, precision="float32") for tile in (1024, 64))
    assert len(list(windows(height, width, tiled.tile, tiled.halo))) == -(-height // 64) * -(-width // 64)
    halftone = whole.halftone(bgr)
    assert halftone.shape == (height, width) and set(np.unique(halftone)) <= {0, 255}
    assert (tiled.halftone(bgr) == halftone).mean() >= 0.9999
    restored = whole.restore(halftone)
    assert restored.shape == (height, width, 3) and restored.dtype == np.uint8
    assert np.abs(tiled.restore(halftone).astype(int) - restored).max() <= 1


PROCESSOR_DEPENDENT = [pytest.param(precision, marks=pytest.mark.processor) for precision in (None, "int8")]


@pytest.mark.parametrize("precision", [*PROCESSOR_DEPENDENT, "bfloat16", "float32"])
def test_tiles_of_the_shipped_decoder_have_no_seam(precision):
    shipped = load_network(ROOT / "checkpoints/model_best.pth.tar")
    whole, tiled = (ResHalfCodec(shipped, "cpu", tile=tile, fast=True, precision=precision) for tile in (512, 128))
    halftone = whole.halftone(read_image(ROOT / "test_imgs/china.jpg").bgr[:299, :301])
    difference = np.abs(tiled.restore(halftone).astype(int) - whole.restore(halftone)).max()
    assert difference <= int(whole.precision != "int8")  # floating-point sums depend on their order


@pytest.mark.processor
def test_int8_restores_as_well_as_float32_and_is_the_default_where_it_is_fast(monkeypatch):
    shipped = load_network(ROOT / "checkpoints/model_best.pth.tar")
    single, integers = ResHalfCodec(shipped, "cpu", precision="float32"), ResHalfCodec(shipped, "cpu", precision="int8")
    assert (single.precision, integers.precision) == ("float32", "int8")
    lost = []
    for path in list_images(ROOT / "test_imgs"):
        bgr = read_image(path).bgr[:256, :256]
        halftone = single.halftone(bgr)
        assert np.array_equal(integers.halftone(bgr), halftone)
        lost.append(psnr(bgr, single.restore(halftone)) - psnr(bgr, integers.restore(halftone)))
    assert len(lost) == 8 and np.mean(lost) < 0.05 and max(lost) < 0.1
    for there in (True, False):
        monkeypatch.setattr("model.reshalf.has_integer_convolution", lambda there=there: there)
        assert (ResHalfCodec(shipped, "cpu").precision == "int8") == there
        assert ResHalfCodec(network(Prior()), "cpu").precision != "int8"  # its decoder is an hourglass
        assert ResHalfCodec(shipped, "cpu", precision="bfloat16").precision == "bfloat16"


@pytest.mark.parametrize("columns", [1, 5, 9, 17])
def test_narrow_images_are_restored_in_bfloat16_as_in_float32(columns):
    bgr = photo(600, columns)
    half, single = (ResHalfCodec(network(), "cpu", precision=precision) for precision in ("bfloat16", "float32"))
    halftone = single.halftone(bgr)
    assert (half.halftone(bgr) == halftone).mean() > 0.99
    assert np.abs(half.restore(halftone).astype(int) - single.restore(halftone)).max() <= 8


@pytest.mark.processor
def test_overflowing_weights_raise_floating_point_error():
    shipped = load_network(ROOT / "checkpoints/model_best.pth.tar")
    for part in (shipped.decoder, shipped.proxy):
        torch.nn.init.constant_(part.inConv[0].weight, 1e38)
    codec = ResHalfCodec(shipped, "cpu", precision="int8")
    for work in (lambda: codec.halftone(photo(16, 16)), lambda: codec.restore(photo(16, 16)[..., 0] // 128 * 255)):
        with pytest.raises(FloatingPointError, match="not finite: its weights are broken"):
            work()


CUTS = {
    "crop": lambda x: x[1:, 3:],
    "crop of rows": lambda x: x[5:],
    "mirror": lambda x: x[:, ::-1],
    "upside down": lambda x: x[::-1],
    "half a turn": lambda x: x[::-1, ::-1],
    "quarter turn": np.rot90,
    "quarter turn to the right, cropped": lambda x: np.rot90(x, 3)[3:, 1:],
}


@pytest.mark.parametrize("start", ["direct_binary_search", "error_diffusion"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_the_pilot_restores_colour_after_crops_mirror_images_and_quarter_turns(start, cut):
    bgr = photo(322, 320)
    codec = ResHalfCodec(network(Prior(halftone=start, pilot=0.002)), "cpu", precision="float32")
    halftone = codec.halftone(bgr)
    whole, part = cut(codec.restore(halftone)), codec.restore(cut(halftone))
    inside = np.s_[16:-16, 16:-16]
    assert part.shape == whole.shape
    assert np.abs(part[inside].astype(int) - whole[inside]).max() <= 1
    without = ResHalfCodec(network(Prior(halftone=start)), "cpu", precision="float32").restore(cut(halftone))
    assert np.abs(without[inside].astype(int) - whole[inside]).mean() > 10


def test_restoring_from_memory_and_from_the_file_is_identical():
    """The quantizer's output in memory and the halftone of a file are the same bits, and so are their restorations."""
    bgr, codec = photo(40, 50), ResHalfCodec(network(Prior()), "cpu", precision="float32")
    with torch.inference_mode():
        colour = torch.from_numpy(bgr).permute(2, 0, 1)[None].float() / 127.5 - 1
        in_memory = codec.network(colour, codec.network.condition(colour))
    halftone = codec.halftone(bgr)
    assert np.array_equal(in_memory.halftone[0, 0].numpy() > 0, halftone > 0)
    levels = ((in_memory.restored[0] / 2 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(levels, codec.restore(halftone))


def test_the_seed_determines_the_noise():
    bgr = photo(64, 64)
    noisy = network()
    keep_variance(noisy.encoder)
    with torch.no_grad():  # as many black pixels as white ones, so that noise changes some
        noisy.encoder.outConv[-1].bias -= noisy.encode(to_tensor(bgr)).continuous.median()
    first, again, other = (ResHalfCodec(noisy, "cpu", seed=seed).halftone(bgr) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert (first != other).any()


def test_fast_returns_the_error_diffusion_and_does_not_change_the_network():
    bgr = photo(40, 50)
    for prior in (Prior(), Prior(guidance=0.5)):
        searching = network(prior)
        searched = searching.prior_halftone(bgr)
        fast = ResHalfCodec(searching, "cpu", fast=True).halftone(bgr)
        assert np.array_equal(fast, Prior(halftone="error_diffusion").classical_halftone(bgr))
        assert np.array_equal(ResHalfCodec(searching, "cpu").halftone(bgr), searched)


@pytest.mark.parametrize("prior", [None, Prior(halftone="error_diffusion")])
def test_fast_is_rejected_without_a_halftone_search(prior):
    with pytest.raises(UserError, match="has no halftone search"):
        ResHalfCodec(network(prior), "cpu", fast=True)


def test_an_unavailable_device_is_a_user_error(monkeypatch):
    def without_cuda(**_):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", without_cuda)
    with pytest.raises(UserError, match="cuda: Torch not compiled with CUDA"):
        ResHalfCodec(network(), "cuda")


def test_a_tile_that_is_no_multiple_of_8_is_rejected():
    with pytest.raises(UserError, match="multiple of 8"):
        ResHalfCodec(network(), "cpu", tile=100)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError("Unable to allocate 3 GiB for an array"),
    ],
)
def test_a_tile_is_halved_when_out_of_memory(monkeypatch, error):
    codec = ResHalfCodec(network(Prior()), "cpu", tile=512, precision="float32")
    halftone = photo(300, 300)[..., 0] // 128 * 255
    whole = codec.restore(halftone)
    decode = codec.network.decode

    def scarce(x):
        if x.shape[-1] > 200:
            raise error
        return decode(x)

    monkeypatch.setattr(codec.network, "decode", scarce)
    assert np.abs(codec.restore(halftone).astype(int) - whole).max() <= 1
    assert codec.tile == 128


def test_the_smallest_tile_out_of_memory_raises_memory_error(monkeypatch):
    def none_left(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    codec = ResHalfCodec(network(Prior()), "cpu", tile=512)
    monkeypatch.setattr(codec.network, "decode", none_left)
    with pytest.raises(MemoryError, match="64 pixels"):
        codec.restore(np.zeros((80, 80), np.uint8))


def test_other_errors_are_not_treated_as_out_of_memory(monkeypatch):
    def broken(x):
        raise RuntimeError("shapes do not match")

    codec = ResHalfCodec(network(Prior()), "cpu")
    monkeypatch.setattr(codec.network, "decode", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        codec.restore(np.zeros((8, 8), np.uint8))


def test_the_tile_depends_on_the_free_memory(monkeypatch):
    sides = []
    for free in (1e6, 64e6, 1e11):
        monkeypatch.setattr("model.tiler.available_memory", lambda free=free: free)
        sides.append(ResHalfCodec(network(Prior()), "cpu").tile)
    assert sides[0] == 64 and 64 < sides[1] < 512 and sides[2] == 512


@pytest.mark.processor
def test_rounds_need_a_network_with_a_proxy():
    with pytest.raises(UserError, match="has no proxy"):
        ResHalfCodec(ResHalf(4, {}, levels=1), "cpu", rounds=2)
    torch.manual_seed(0)
    network = ResHalf(4, {"guidance": 0.5, "guided_rounds": 2}, levels=1)
    with pytest.raises(UserError, match="0 or more, not -1"):
        ResHalfCodec(network, "cpu", rounds=-1)
    with pytest.raises(UserError, match="fast excludes rounds and best"):
        ResHalfCodec(network, "cpu", fast=True, rounds=1)
    bgr = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    halftones = {rounds: ResHalfCodec(network, "cpu", rounds=rounds).halftone(bgr) for rounds in (None, 0, 1, 2)}
    assert np.array_equal(halftones[None], halftones[2])
    assert np.array_equal(halftones[0], network.prior.classical_halftone(bgr))
    assert (halftones[1] != halftones[0]).any() and (halftones[2] != halftones[1]).any()


@pytest.mark.parametrize(("side", "expected"), [(64, 1), (128, 1), (129, 2), (250, 4)])
def test_small_photographs_use_few_threads_and_leave_the_numbers_as_they_were(monkeypatch, side, expected):
    before = numba.get_num_threads(), torch.get_num_threads()
    codec, used = ResHalfCodec(network(Prior()), "cpu"), []
    limits = {"numba": 8, "torch": 8}
    for module in (numba, torch):
        name = module.__name__
        monkeypatch.setattr(f"model.tiler.{name}.get_num_threads", lambda name=name: limits[name])
        monkeypatch.setattr(
            f"model.tiler.{name}.set_num_threads", lambda count, name=name: limits.update({name: count})
        )
    monkeypatch.setattr(codec, "tiled", lambda size, *rest: used.append(dict(limits)) or np.zeros((*size, 3), np.uint8))
    monkeypatch.setattr(codec.network, "prior_halftone", lambda *rest: used.append(dict(limits)) or np.zeros(1))
    halftone = np.zeros((side, side), np.uint8)
    codec.halftone(np.zeros((side, side, 3), np.uint8))
    codec.restore(halftone)
    codec.restore_uncertain(halftone)
    assert used == [{"numba": expected, "torch": expected}] * 3 and set(limits.values()) == {8}
    monkeypatch.undo()
    assert (numba.get_num_threads(), torch.get_num_threads()) == before


def test_a_thread_that_starts_beside_a_small_photograph_keeps_the_number_of_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    found = []

    def beside():
        with threads_for(1):
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    try:
        with threads_for(1):
            thread = Thread(target=beside)
            thread.start()
            thread.join()
        assert found == [1, 2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.processor
def test_best_queries_the_decoder_itself():
    shipped = load_network(ROOT / "checkpoints/model_best.pth.tar")
    bgr = read_image(ROOT / "test_imgs/astronaut.jpg").bgr[:256, :256]
    more, best = (ResHalfCodec(shipped, "cpu", **choice) for choice in ({"rounds": BEST_ROUNDS}, {"best": True}))
    halftone = best.halftone(bgr)
    assert psnr(bgr, best.restore(halftone)) > psnr(bgr, more.restore(more.halftone(bgr))) + 0.2
    assert np.array_equal(halftone, shipped.prior_halftone(bgr, BEST_ROUNDS, best=True))
    halftone = shipped.prior_halftone(bgr)
    assert psnr(bgr, best.restore(halftone)) > psnr(bgr, more.restore(halftone)) + 0.02


@pytest.mark.parametrize("size", [(8, 10), (7, 10), (8, 9), (7, 9), (1, 1)])
def test_mirror_images_keep_the_parity_of_the_pixels(size):
    """A decoder that demodulates: the mean over the mirror images is its own output where no border is near."""
    carrier = (1.0 - 2 * (torch.arange(size[0])[:, None] % 2)) * (1 - 2 * (torch.arange(size[1]) % 2))

    def demodulate(halftone):
        rows, columns = halftone.shape[-2:]
        signs = (1.0 - 2 * (torch.arange(rows)[:, None] % 2)) * (1 - 2 * (torch.arange(columns) % 2))
        return (halftone * signs).expand(-1, 3, -1, -1)

    assert torch.equal(mirrored_mean(demodulate, carrier[None, None]), torch.ones(1, 3, *size))


def test_best_is_rejected_without_a_proxy_or_a_subpixel_decoder():
    with pytest.raises(UserError, match="has no proxy"):
        ResHalfCodec(ResHalf(4, {}, levels=1), "cpu", best=True)
    guided = ResHalf(4, {"guidance": 0.5}, levels=1)
    with pytest.raises(UserError, match="needs a subpixel decoder"):
        ResHalfCodec(guided, "cpu", best=True)
    with pytest.raises(UserError, match="fast excludes rounds and best"):
        ResHalfCodec(ResHalf(4, {"guidance": 0.5}, decoder="subpixel"), "cpu", fast=True, best=True)
