"""Batches for ResHalf's trainings; with a dither prior they contain classical halftones."""

import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from lightning.fabric import Fabric

from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from model.load import load_network
from model.reshalf import ResHalf
from model.tiler import threads_for
from reshalf.config import ResHalfConfig
from training.validation import flat_grays
from utils.errors import UserError

CACHES_KEPT = 4
"""Cache files of classical halftones kept for each photo set, most recently used first; one per prior and proxy."""


def halftone_streams(
    config: ResHalfConfig, network: ResHalf, fabric: Fabric, streams: dict[str, BatchStream | None]
) -> dict[str, BatchStream | None]:
    """The streams of `photo_streams` and, with validation, "flat", constant grays for the spectrum plot.

    With a prior, batches contain its classical halftones; those of the training set are made by `guide_ckpt` in part.
    """
    streams = streams | {"flat": None}
    if streams["validation"]:
        batch_size = config.data_loader.batch_size
        streams["flat"] = BatchStream(flat_grays(), batch_size=batch_size, shuffle=False, seed=config.seed)
    if network.prior is not None:
        sets = [each for stream in filter(None, streams.values()) for each in (stream.photos, stream.specials)]
        with fabric.rank_zero_first(local=True):  # the other processes of the host read its cache
            guide = _load_guide(config.guide_ckpt) if config.guide_ckpt else None
            for photo_set in filter(None, sets):
                guided = guide if photo_set is streams["stream"].photos else None
                add_prior(photo_set, network, Path(config.data_dir), guided, config.guide_share)
    return streams


def add_prior(
    photo_set: PhotoSet, network: ResHalf, data_dir: Path, guide: ResHalf | None = None, share: float = 0.0
) -> None:
    """Compute the classical halftones of the photographs, side by side on one core each, or read their cache.

    data_dir  folder of the cache files; photo sets made from arrays are not cached
    guide     its decoder guides the halftones of `share` of the photographs and of their mirror images
    """
    key = network.prior_key()
    if guide is not None:
        key += f" {guide.best_key()} {share}"
    file = f".prior_{photo_set.name.replace(', ', '_')}_{zlib.crc32(key.encode()):08x}.npz"
    cache = data_dir / file if photo_set.name != "arrays" and os.access(data_dir, os.W_OK) else None

    def halftone(bgr: np.ndarray) -> np.ndarray:
        with threads_for(1):
            if guide is not None and zlib.crc32(bgr) < share * 2**32:
                return guide.prior_halftone(bgr, best=True)
            return network.prior_halftone(bgr)

    photo_set.add_prior(halftone, cache=cache, key=key)
    if cache:
        with suppress(OSError):  # another user's file, or already removed
            os.utime(cache)
            others = data_dir.glob(f"{file.rpartition('_')[0]}_*.npz")
            for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[CACHES_KEPT:]:
                old.unlink()


def _load_guide(path: str) -> ResHalf:
    try:
        guide = load_network(path)
    except UserError as error:
        raise UserError(f"guide_ckpt: {error}") from None
    if not isinstance(guide, ResHalf) or not guide.can_query_decoder:
        raise UserError(f"guide_ckpt: {path}: a ResHalf with a proxy and a subpixel decoder is needed")
    for queried in (guide.proxy, guide.decoder):
        guide.as_int8(queried)  # before threads share it
    return guide
