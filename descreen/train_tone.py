"""Train what sees whole pictures, after all other stages of a descreening checkpoint: inks and tone.

    python -m descreen.train_tone --model RUN/model_best.pth.tar --out FILE.pth.tar [--data_dir dataset/] [--scans 4000]

Prints and scans the training photographs as the checkpoint's own training did, but with the shares of PRINTS. If its
coarse network is told the kind of inks, 1.5 times as many scans train InkClassifier (descreen/inks.py). The scans are
restored, and ToneNet (descreen/tone.py) is trained on the restorations and crops of them: the loss is the
logarithm of each one's mean squared error.
FILE is the checkpoint with these networks; those that it had are replaced.
Exit code: 0 done, 2 wrong usage, 130 or 143 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dataset.photo_set import PhotoSet
from dataset.prefetch import prefetch
from descreen.command import check_output_file, load_trained
from descreen.config import ScreensConfig
from descreen.engine import DescreenEngine
from descreen.inks import InkClassifier, colour_shares
from descreen.picture_net import PictureNet
from descreen.printing import Printing, draw_printing, ground_truth, print_and_scan
from descreen.regions import find_regions
from descreen.screen_finder import common_pitch
from descreen.tone import ToneNet, statistics, tone_terms
from halftone.threads import available_cores
from training.config import parse_config
from utils.checkpoint import read_checkpoint, write_checkpoint
from utils.command import exit_code
from utils.errors import UserError
from utils.progress import progress

PRINTS = {"flawed": 0.7, "newsprint": 0.3}
"""Shares of prints whose tones are changed, in `ScreensConfig`. With a tenth of newsprint nothing was learned."""
MIN_CROP = 96
"""Smallest side in pixels of the random crop that is used beside each whole restoration."""
EPOCHS, BATCH, RATE, DECAY, NOISE = 30, 64, 2e-3, 0.3, 0.1
"""AdamW with cosine decay; noise in standard deviations of each statistic."""
MIN_SCANS = 8


Network = TypeVar("Network", bound=PictureNet)


class Sample(NamedTuple):
    """Statistics of a restoration, and its mean squared error e + 2 v·a + a·G a as a function of the coefficients a.

    Levels in [0, 1]. Shapes: (STATISTICS,), (), (4,), (4, 4).
    """

    statistics: np.ndarray
    error: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray


class InkSample(NamedTuple):
    """`colour_shares` of a scan, and 1 for process inks or 0 for ideal ones."""

    shares: np.ndarray
    kind: np.float32


def samples(engine: DescreenEngine, photos: PhotoSet, screens: ScreensConfig, seed: int, index: int) -> list[Sample]:
    """Of scan number `index` and a crop of it; none unless the whole scan is one region with screens."""
    random = np.random.default_rng((seed, index))
    bgr, printing, scan = _scan(photos, screens, random)
    truth = ground_truth(bgr, printing)
    regions = find_regions(scan)
    if len(regions) != 1 or not regions[0].screens or not regions[0].covers(scan.shape):
        return []
    restored = engine.restore(scan, regions, tone=False)
    crops = ((slice(None), slice(None)), _random_crop(scan.shape[:2], random))
    pitch = common_pitch(regions[0].screens)
    return [_sample(scan[crop], restored[crop], truth[crop], pitch) for crop in crops]


def ink_samples(photos: PhotoSet, screens: ScreensConfig, seed: int, index: int) -> list[InkSample]:
    """Of scan number `index` and a crop of it."""
    random = np.random.default_rng((seed, 1, index))
    _, printing, scan = _scan(photos, screens, random)
    crop = np.ascontiguousarray(scan[_random_crop(scan.shape[:2], random)])
    process = np.float32(printing.solids is not None)
    return [InkSample(colour_shares(picture), process) for picture in (scan, crop)]


def fit(network: Network, rows: list[Sample] | list[InkSample], loss: Callable[..., Tensor], seed: int) -> Network:
    """Train a network with `loss` of its output and the other columns of `rows`; in evaluation mode."""
    torch.manual_seed(seed)
    columns = _columns(rows)
    network.mean.copy_(columns[0].mean(dim=0))
    network.deviation.copy_(columns[0].std(dim=0).clamp_min(1e-3))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for found, *others in progress(_batches(columns), f"training {type(network).__name__}", total=steps):
        noise = NOISE * network.deviation * torch.randn_like(found)
        value = loss(network(found + noise), *others)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def fit_tone(rows: list[Sample], seed: int) -> ToneNet:
    """Train a ToneNet."""
    return fit(ToneNet(), rows, lambda *columns: corrected_error(*columns).log().mean(), seed)


def fit_inks(rows: list[InkSample], seed: int) -> InkClassifier:
    """Train an InkClassifier."""
    return fit(InkClassifier(), rows, lambda odds, kind: binary_cross_entropy_with_logits(odds[:, 0], kind), seed)


def corrected_error(coefficients: Tensor, error: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
    """Mean squared error of N restorations, (N,), after the correction with `coefficients` (N, 4)."""
    linear = (coefficients * slope).sum(dim=1)
    square = torch.einsum("ni,nij,nj->n", coefficients, curvature, coefficients)
    return (error + 2 * linear + square).clamp_min(1e-7)


def _scan(
    photos: PhotoSet, screens: ScreensConfig, random: np.random.Generator
) -> tuple[np.ndarray, Printing, np.ndarray]:
    """A random photograph, how it is printed, and the scan of the print."""
    bgr = photos.sample(int(random.integers(len(photos)))).colour.transpose(1, 2, 0)
    bgr = np.ascontiguousarray(bgr[:, :: random.choice((-1, 1))])
    printing = draw_printing(screens, random)
    return bgr, printing, print_and_scan(bgr, printing)


def _columns(rows: list[Sample] | list[InkSample]) -> list[Tensor]:
    return [torch.from_numpy(np.stack(column)).float() for column in zip(*rows, strict=True)]


def _batches(columns: list[Tensor]) -> Iterator[list[Tensor]]:
    for _ in range(EPOCHS):
        for index in torch.randperm(len(columns[0])).split(BATCH):
            yield [column[index] for column in columns]


def _sample(scan: np.ndarray, restored: np.ndarray, truth: np.ndarray, pitch: float) -> Sample:
    levels = restored.reshape(-1, 3) / 255
    terms = tone_terms(levels).reshape(-1, 4)  # pixels and channels
    error = (levels - truth.reshape(-1, 3) / 255).ravel()
    count = len(error)
    return Sample(
        statistics(scan, restored, pitch), np.square(error).mean(), error @ terms / count, terms.T @ terms / count
    )


def _random_crop(size: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
    window = []
    for side in size:
        length = int(random.integers(min(MIN_CROP, side), side + 1))
        start = int(random.integers(side - length + 1))
        window.append(slice(start, start + length))
    return tuple(window)


def _collect(make: Callable, photos: PhotoSet, count: int, title: str) -> list:
    jobs = (partial(make, photos, index=index) for index in range(count))
    with closing(prefetch(jobs, available_cores())) as results:
        rows = [row for found in progress(results, title, total=count) for row in found]
    if not rows:
        raise UserError(f"{title}: no screen was detected in any of {count} scans")
    return rows


@torch.no_grad()
def _validate(network: ToneNet, rows: list[Sample]) -> tuple[float, float]:
    """Mean restored PSNR before and after the correction."""
    found, *errors = _columns(rows)
    after = corrected_error(network(found), *errors)
    return tuple(float(-10 * error.log10().mean()) for error in (errors[0], after))


@torch.no_grad()
def _share_detected(network: InkClassifier, rows: list[InkSample]) -> float:
    shares, kinds = _columns(rows)
    return float(((network(shares)[:, 0] > 0) == (kinds > 0)).float().mean())


def run(args: argparse.Namespace) -> int:
    if args.scans < MIN_SCANS:
        raise UserError(f"--scans {args.scans}: allowed: {MIN_SCANS} or more")
    if args.seed < 0:
        raise UserError("--seed must be 0 or more")
    check_output_file(args.out)
    engine = load_trained(args.model, args.device)
    checkpoint = read_checkpoint(args.model)
    try:
        screens = parse_config(ScreensConfig, checkpoint.get("config", {}).get("screens", {}) | PRINTS)
    except UserError as error:
        raise UserError(f"{args.model}: screens of its config: {error}") from None
    train, validation = (PhotoSet.from_lists(args.data_dir, args.list, split) for split in ("train", "val"))

    checked = max(MIN_SCANS, args.scans // 20)
    trained = {}
    if engine.network.inks is not None:
        make = partial(ink_samples, screens=screens, seed=args.seed)
        trained["inks"] = fit_inks(_collect(make, train, 3 * args.scans // 2, "scanning"), args.seed)
        engine.network.inks.load_state_dict(trained["inks"].state_dict())
        right = _share_detected(trained["inks"], _collect(make, validation, checked, "validating"))
        print(f"scans of the validation photographs, and crops: the kind of inks is detected in {right:.1%}")
    make = partial(samples, engine, screens=screens, seed=args.seed)
    trained["tone"] = fit_tone(_collect(make, train, args.scans, "restoring scans"), args.seed)
    before, after = _validate(trained["tone"], _collect(make, validation, checked, "validating"))
    print(f"scans of the validation photographs: {before:.2f} dB, with the tone network {after:.2f} dB")
    weights = {
        f"{part}.{name}": value.half()
        for part, network in trained.items()
        for name, value in network.state_dict().items()
    }
    changed = {"arch": checkpoint["arch"] | {"tone": True}, "state_dict": checkpoint["state_dict"] | weights}
    write_checkpoint(args.out, checkpoint | changed)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="checkpoint of the other stages")
    add("--out", type=Path, required=True, help="checkpoint to write")
    add("--data_dir", type=Path, default=Path("dataset"), help="folder of the list")
    add("--list", default="HalftoneVOC2012.json", help="photographs, as for training (default: %(default)s)")
    add("--scans", type=int, default=4000, help="scans to train on (default: %(default)s)")
    add("--seed", type=int, default=0, help="of scans and training (default: 0)")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
