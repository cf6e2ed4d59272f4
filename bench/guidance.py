"""Quality and time of the guided search, by number of rounds and weight of the gradient.

    python bench/guidance.py --data_dir PHOTOS [--model CKPT] [--rounds 0 1 2 4 6 12] [--weights 0.07] [--every 1]
                             [--best [--proxy_rounds 20]] [--curvature 0.25]

prints means over the photographs: PSNR and SSIM of the restoration, tone PSNR (σ 1.5) of the halftone, and seconds per
megapixel of halftoning. The decoder is the checkpoint's in every row; with --best the search queries it after
the proxy. Curvature and proxy rounds are those of model/guidance.py and model/reshalf.py unless given.
"""

import argparse
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import model.reshalf  # noqa: E402
from images.files import read_image  # noqa: E402
from images.listing import list_images  # noqa: E402
from metrics.quality import gray_of, psnr, ssim, tone_psnr  # noqa: E402
from model import guidance  # noqa: E402
from reshalf import SHIPPED, ResHalfCodec  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1, 2, 4, 6, 12])
    parser.add_argument("--weights", type=float, nargs="+", help="prior.guidance (default: the checkpoint's)")
    parser.add_argument("--every", type=int, default=1, help="use every n-th photograph")
    parser.add_argument("--best", action="store_true", help="query the decoder itself after the proxy")
    parser.add_argument("--proxy_rounds", type=int, nargs="+", default=[model.reshalf.PROXY_ROUNDS], help="with --best")
    parser.add_argument("--curvature", type=float, nargs="+", default=[guidance.CURVATURE])
    arguments = parser.parse_args()
    photos = [read_image(path).bgr for path in list_images(arguments.data_dir)[:: arguments.every]]
    trained = ResHalfCodec(arguments.model).network.prior
    print("  weight  curvature  rounds  restored dB    SSIM  tone dB  s/Mpixel")
    grid = product(arguments.weights or [trained.guidance], arguments.curvature, arguments.proxy_rounds)
    for (weight, curvature, before), rounds in product(grid, arguments.rounds):
        guidance.CURVATURE, model.reshalf.PROXY_ROUNDS = curvature, before
        codec = ResHalfCodec(arguments.model, rounds=rounds, best=arguments.best)
        codec.network.prior = replace(trained, guidance=weight)
        codec.halftone(photos[0][:64, :64])  # compile first
        scores, seconds = measure(codec, photos)
        number = f"{before} + {rounds}" if arguments.best and rounds else str(rounds)
        row = (
            f"{weight:8.3f}{curvature:11.2f}{number:>8}{scores[0]:13.2f}{scores[1]:8.4f}{scores[2]:9.2f}{seconds:10.2f}"
        )
        print(row, flush=True)


def measure(codec: ResHalfCodec, photos: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Means of restored PSNR, SSIM and tone PSNR; seconds per megapixel of halftoning."""
    scores, seconds = [], 0.0
    for bgr in photos:
        start = time.perf_counter()
        halftone = codec.halftone(bgr)
        seconds += time.perf_counter() - start
        restored = codec.restore(halftone)
        scores.append((psnr(bgr, restored), ssim(bgr, restored), tone_psnr(halftone, gray_of(bgr))))
    return np.mean(scores, axis=0), seconds / (sum(bgr[..., 0].size for bgr in photos) / 1e6)


if __name__ == "__main__":
    main()
