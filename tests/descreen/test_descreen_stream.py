"""Batches of scans: a function of seed, epoch and step, independent of the number of processes and threads."""

import threading

import cv2
import numpy as np
import pytest
import torch

from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from descreen import stream
from descreen.config import ScreensConfig
from descreen.stream import ScanStream

SCREENS = ScreensConfig()


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(0)
    colour = [cv2.resize(random.integers(0, 256, (4, 4, 3)).astype(np.uint8), (48, 48)) for _ in range(6)]
    colour = np.stack(colour).transpose(0, 3, 1, 2).copy()
    return PhotoSet.from_arrays(colour, np.zeros_like(colour[:, :1]))


def make(
    photos, batch_size=4, shuffle=True, crop_size=32, rank=0, world_size=1, num_workers=1, screens=SCREENS, **options
):
    inner = BatchStream(
        photos,
        batch_size=batch_size,
        crop_size=crop_size,
        flip=True,
        shuffle=shuffle,
        seed=3,
        rank=rank,
        world_size=world_size,
        num_workers=num_workers,
    )
    return ScanStream(inner, screens, **options)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_batch_holds_scans_ground_truths_and_edges(photos):
    batch = next(make(photos, rotate=True, edges=True).batches(0))
    assert batch["scan"].shape == batch["colour"].shape == (4, 3, 32, 32)
    assert batch["edges"].shape == (4, 1, 32, 32) and set(batch["edges"].unique().tolist()) <= {0.0, 1.0}
    for name in ("scan", "colour"):
        assert batch[name].dtype == torch.float32 and batch[name].min() >= -1 and batch[name].max() <= 1
    assert (batch["scan"] - batch["colour"]).abs().mean() > 0.1


def test_waves_follow_the_scan_channels_and_dropout_zeroes_them(photos):
    only = SCREENS.model_copy(update={"line": 0.0, "fm": 0.0, "gray": 0.0, "missed": 0.0, "any_angle": 1.0})
    plain, exact = (next(make(photos, screens=only, waves=waves).batches(0)) for waves in (None, "exact"))
    assert exact["scan"].shape == (4, 7, 32, 32) and torch.equal(exact["scan"][:, :3], plain["scan"])
    assert (exact["scan"][:, 6].abs().amax(dim=(1, 2)) > 0.9).all()  # black
    half, none = (only.model_copy(update={"missed": share}) for share in (0.5, 1.0))
    seen = next(make(photos, screens=half, waves="exact").batches(0))["scan"][:, 3:].abs().amax(dim=(2, 3)) > 0
    assert seen.any() and not seen.all()
    assert not next(make(photos, screens=none, waves="exact").batches(0))["scan"][:, 3:].any()


def test_beliefs_are_the_last_channel_and_change_nothing_else(photos):
    both = SCREENS.model_copy(update={"process_inks": 0.5, "clean": 0.0})
    plain, told = (next(make(photos, screens=both, waves="exact", inks=inks).batches(0)) for inks in (False, True))
    assert told["scan"].shape == (4, 8, 32, 32) and torch.equal(told["scan"][:, :7], plain["scan"])
    beliefs = told["scan"][:, 7].flatten(1)
    assert (beliefs == beliefs[:, :1]).all() and len(beliefs[:, 0].unique()) == 4
    assert torch.equal(told["colour"], plain["colour"])


def test_estimated_waves_match_the_exact_ones(photos):
    coarse = SCREENS.model_copy(update={"am": 1.0, "line": 0.0, "fm": 0.0, "gray": 1.0, "clean": 1.0, "pitch_min": 4.0})
    how = {"screens": coarse, "crop_size": 48}
    drawn, found = (next(make(photos, waves=waves, **how).batches(0))["scan"] for waves in ("exact", "estimated"))
    assert torch.equal(drawn[:, :3], found[:, :3])
    pairs = [(a[6], b[6]) for a, b in zip(drawn, found, strict=True) if a[6].any() and b[6].any()]
    assert pairs
    for a, b in pairs:
        assert torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1] > 0.8


def test_start_step_threads_and_processes_do_not_change_batches(photos, monkeypatch):
    monkeypatch.setattr(stream, "available_cores", lambda: 2)
    whole = list(make(photos, rotate=True).batches(2))
    assert len(whole) == 2
    assert same(whole[1], next(make(photos, rotate=True, num_workers=0).batches(2, 1)))
    pool = stream._processes(2)
    try:
        assert all(map(same, whole, make(photos, rotate=True, num_workers=2).batches(2)))
        assert len(pool._processes) == 2
    finally:
        pool.shutdown()
        stream._processes.cache_clear()
    assert not same(whole[1], list(make(photos, rotate=True).batches(3))[1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_batches_of_two_ranks_form_the_joint_batch(photos, shuffle):
    crop = 32 if shuffle else None
    whole = list(make(photos, shuffle=shuffle, crop_size=crop).batches(1))
    parts = [list(make(photos, shuffle=shuffle, crop_size=crop, rank=r, world_size=2).batches(1)) for r in (0, 1)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch["scan"], torch.cat([part[step]["scan"] for part in parts]))


def test_closing_the_iterator_ends_its_threads(photos):
    batches = make(photos).batches(0)
    next(batches)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]
