"""Batches are a pure function of (seed, epoch, step) and keep photographs and their halftones aligned."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import photo_set as photo_set_module
from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from images.files import write_halftone, write_image
from utils.errors import UserError
from utils.pixels import to_tensor


def parity_halftone(bgr: np.ndarray) -> np.ndarray:
    """A dither that depends only on the parity and the colour of the pixel, like a colour carrier."""
    y, x = np.indices(bgr.shape[:2])
    return np.where((x + y) & 1 ^ (bgr[..., 0] > 127), np.uint8(255), np.uint8(0))


def photo_set(count: int = 7, size: tuple[int, int] = (18, 23), seed: int = 0) -> PhotoSet:
    """Random photographs: green is the column index, the reference is white where red is above 127."""
    colour = np.random.default_rng(seed).integers(0, 256, (count, 3, *size), np.uint8)
    colour[:, 1] = np.arange(size[1])
    reference = np.where(colour[:, 2:] > 127, np.uint8(255), np.uint8(0))
    return PhotoSet.from_arrays(colour, reference)


def on_disk(folder: Path, count: int = 5, prefix: str = "", size: tuple[int, int] = (18, 23)) -> PhotoSet:
    photos = photo_set(count, size)
    (folder / "train").mkdir(parents=True)
    inputs, labels = [], []
    for index in range(count):
        colour, reference = photos.sample(index)
        inputs.append(f"train/{index}_c.png")
        labels.append(f"train/{index}_h.png")
        write_image(folder / inputs[-1], np.ascontiguousarray(colour.transpose(1, 2, 0)))
        write_halftone(folder / labels[-1], reference)
    columns = {"inputs": [prefix + path for path in inputs], "labels": [prefix + path for path in labels]}
    (folder / "list.json").write_text(json.dumps({"train": columns, "val": {"inputs": [], "labels": []}}))
    return photos


def stream(photos: PhotoSet, **options) -> BatchStream:
    return BatchStream(
        photos, **{"batch_size": 4, "crop_size": 8, "flip": True, "seed": 131, "num_workers": 0} | options
    )


def assert_same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


def test_whole_photographs_in_order_have_the_values_of_their_files(tmp_path):
    photos = on_disk(tmp_path)
    loaded = PhotoSet.from_lists(tmp_path, "list.json", "train")
    (first, second) = stream(loaded, batch_size=3, crop_size=None, flip=False, shuffle=False).batches(0)
    assert first["colour"].shape == (3, 3, 18, 23) and second["colour"].shape == (2, 3, 18, 23)
    for index, colour in enumerate(torch.cat([first["colour"], second["colour"]])):
        torch.testing.assert_close(colour, to_tensor(photos.sample(index).colour.transpose(1, 2, 0))[0], rtol=0, atol=0)
    assert set(first["reference"].unique().tolist()) == {-1.0, 1.0}
    assert first["colour"].dtype == first["reference"].dtype == torch.float32


def test_batches_depend_on_seed_and_epoch_alone():
    one = list(stream(photo_set()).batches(3))
    assert_same(one, list(stream(photo_set()).batches(3)))
    assert not torch.equal(one[0]["colour"], next(stream(photo_set()).batches(4))["colour"])
    assert not torch.equal(one[0]["colour"], next(stream(photo_set(), seed=132).batches(3))["colour"])


def test_the_order_of_a_seed_never_changes():
    """A run resumed with another version of numpy must continue with the same order."""
    assert stream(photo_set())._order(7, 0, 0).tolist() == [2, 0, 6, 4, 1, 5, 3]


def test_an_epoch_can_start_at_any_step():
    joint = stream(photo_set(11), specials=photo_set(3, seed=1))
    whole = list(joint.batches(1))
    for start in range(len(joint) + 1):
        assert_same(whole[start:], list(joint.batches(1, start)))


@pytest.mark.parametrize("num_workers", [1, 3, 32])
@pytest.mark.parametrize("memory_limit", [None, 0])
def test_values_depend_neither_on_threads_nor_on_memory(tmp_path, num_workers, memory_limit):
    expected = list(stream(on_disk(tmp_path)).batches(0))
    loaded = PhotoSet.from_lists(tmp_path, "list.json", "train")
    loaded.load(memory_limit)
    assert loaded.in_memory == (memory_limit is None)
    loaded.load = lambda: None
    assert_same(expected, list(stream(loaded, num_workers=num_workers).batches(0)))


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_batches_of_all_ranks_together_equal_those_of_one_process(world_size, shuffle):
    photos, specials = photo_set(11), photo_set(3, seed=1)
    photos.add_prior(parity_halftone)
    alone = list(stream(photos, specials=specials, shuffle=shuffle).batches(2))
    ranks = [
        list(stream(photos, specials=specials, shuffle=shuffle, rank=rank, world_size=world_size).batches(2))
        for rank in range(world_size)
    ]
    for step, expected in enumerate(alone):
        parts = [batches[step] for batches in ranks if step < len(batches)]
        assert_same([expected], [{name: torch.cat([part[name] for part in parts]) for name in expected}])


def shown(batches) -> list[int]:
    """The index of each photograph of the batches, from its first pixel."""
    return [round(float(value)) for batch in batches for value in (batch["colour"][:, 0, 0, 0] + 1) * 127.5]


def numbered(count: int) -> PhotoSet:
    colour = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 3, 8, 8))
    return PhotoSet.from_arrays(colour, np.zeros((count, 1, 8, 8), np.uint8))


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_every_epoch_contains_every_photograph(count):
    seen = shown(stream(numbered(count)).batches(0))
    assert set(seen) == set(range(count))
    assert len(seen) == len(stream(numbered(count))) * 4
    assert shown(stream(numbered(count), shuffle=False).batches(0)) == list(range(count))


def test_special_colours_are_used_equally_often_across_epochs():
    joint = stream(numbered(10), specials=numbered(9))
    colours = [batch["special_colour"][:, 0, 0, 0] for epoch in range(3) for batch in joint.batches(epoch)]
    seen = [round(float(value)) for value in (torch.cat(colours) + 1) * 127.5]
    assert [sorted(seen[turn : turn + 9]) for turn in (0, 9, 18, 27)] == [list(range(9))] * 4
    assert seen[:9] != seen[9:18]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 21),
    width=st.integers(8, 21),
    crop=st.one_of(st.none(), st.integers(1, 8)),
    flip=st.booleans(),
    epoch=st.integers(0, 1000),
)
def test_crops_and_mirroring_keep_halftones_aligned_and_the_pixel_parity_of_priors(height, width, crop, flip, epoch):
    photos = photo_set(3, (height, width))
    photos.add_prior(parity_halftone)
    for batch in stream(photos, crop_size=crop, flip=flip).batches(epoch):
        blue, _, red = ((batch["colour"] + 1) * 127.5).round().unbind(1)
        assert blue.shape[1:] == ((crop, crop) if crop else (height, width))
        assert torch.equal(batch["reference"][:, 0], torch.where(red > 127, 1.0, -1.0))
        for colour, prior in zip(blue.numpy(), batch["prior"].numpy(), strict=True):
            np.testing.assert_array_equal(prior[0], parity_halftone(colour[..., None]) / 127.5 - 1)


def test_crops_reach_every_even_offset_and_half_of_them_are_mirrored():
    lefts, mirrored = [], 0
    photos = photo_set(8, (8, 20))
    for epoch in range(40):
        for batch in stream(photos, batch_size=8).batches(epoch):
            columns = ((batch["colour"][:, 1, 0] + 1) * 127.5).round()
            flipped = columns[:, 0] > columns[:, 1]
            mirrored += int(flipped.sum())
            lefts += torch.where(flipped, 19 - columns[:, 0], columns[:, 0]).int().tolist()
    assert set(lefts) == {0, 2, 4, 6, 8, 10, 12}
    assert 110 < mirrored < 210


def test_a_crop_larger_than_the_photographs_is_an_error():
    with pytest.raises(UserError, match="crop_size: 24 does not fit into arrays of 23 x 18"):
        stream(photo_set(), crop_size=24)


def test_priors_are_cached_for_the_next_run(tmp_path):
    calls = []

    def counted(bgr):
        calls.append(bgr)
        return parity_halftone(bgr)

    cache = tmp_path / "prior.npz"
    runs = []
    for key, expected_calls in [("a", 14), ("a", 2), ("b", 14), ("b", 2)]:
        calls.clear()
        photos = photo_set()
        photos.add_prior(counted, cache=cache, key=key)
        assert len(calls) == expected_calls
        runs.append(list(stream(photos).batches(0)))
    for run in runs[1:]:
        assert_same(runs[0], run)
    for change in (lambda: photo_set(seed=5), photo_set):  # other photographs; a damaged cache
        calls.clear()
        change().add_prior(counted, cache=cache, key="b")
        assert len(calls) == 14
        cache.write_bytes(cache.read_bytes()[:-100])


def test_photographs_are_halftoned_side_by_side(monkeypatch):
    monkeypatch.setattr(photo_set_module, "host_thread_count", lambda: 3)
    together, calls = threading.Barrier(3, timeout=60), []

    def halftone(bgr):
        calls.append(bgr)
        if len(calls) > 2:  # after the first photograph and its mirror image, in rounds of three
            together.wait()
        return parity_halftone(bgr)

    photos, expected = photo_set(), photo_set()
    photos.add_prior(halftone)
    expected.add_prior(parity_halftone)
    np.testing.assert_array_equal(photos._prior, expected._prior)


def test_a_changed_function_invalidates_the_cache(tmp_path):
    photo_set().add_prior(parity_halftone, cache=tmp_path / "prior.npz")
    photos = photo_set()
    photos.add_prior(lambda bgr: 255 - parity_halftone(bgr), cache=tmp_path / "prior.npz")
    prior = photos.fetch(np.array([3]), np.zeros((1, 3), int))["prior"][0, 0]
    np.testing.assert_array_equal(prior, 255 - parity_halftone(photos.sample(3).colour.transpose(1, 2, 0)))


@pytest.mark.parametrize("prefix", ["", "./", "Data/", "./Data/"])
def test_list_entries_are_relative_to_the_data_folder_with_and_without_data_prefix(tmp_path, prefix):
    photos = on_disk(tmp_path, prefix=prefix)
    loaded = PhotoSet.from_lists(tmp_path, "list.json", "train")
    loaded.verify()
    np.testing.assert_array_equal(loaded.sample(2).colour, photos.sample(2).colour)


def test_an_existing_folder_data_is_not_stripped(tmp_path):
    on_disk(tmp_path / "Data", prefix="Data/")
    (tmp_path / "Data" / "list.json").rename(tmp_path / "list.json")
    PhotoSet.from_lists(tmp_path, "list.json", "train").verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON list"),
        ("[]", '"train" must hold'),
        ('{"val": {}}', '"train" must hold'),
        ('{"train": {"inputs": ["a"], "labels": [1]}}', '"train" must hold'),
        ('{"train": {"inputs": ["a", "b"], "labels": ["c"]}}', '"train" has 2 inputs and 1 labels'),
        ('{"train": {"inputs": [], "labels": []}}', '"train" is empty'),
        ('{"train": {"inputs": ["a.png"], "labels": ["b.png"]}}', "a.png: cannot be read: No such file"),
    ],
)
def test_a_bad_list_is_a_one_line_error(tmp_path, content, message):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=message):
        PhotoSet.from_lists(tmp_path, "list.json", "train")


def test_a_missing_list_is_an_error_with_its_name(tmp_path):
    with pytest.raises(UserError, match="list.json: cannot be read: No such file"):
        PhotoSet.from_lists(tmp_path, "list.json", "train")


def delete(folder: Path) -> str:
    (folder / "train/3_h.png").unlink()
    return "3_h.png: no such file"


def truncate(folder: Path) -> str:
    (folder / "train/3_c.png").write_bytes((folder / "train/3_c.png").read_bytes()[:-30])
    return "3_c.png: truncated or damaged"


def enlarge_both(folder: Path) -> str:
    write_image(folder / "train/4_c.png", np.zeros((30, 30, 3), np.uint8))
    write_halftone(folder / "train/4_h.png", np.zeros((30, 30), np.uint8))
    return "4_c.png: 30 x 30, but .*0_c.png is 23 x 18"


def enlarge_one(folder: Path) -> str:
    write_halftone(folder / "train/4_h.png", np.zeros((30, 30), np.uint8))
    return "4_h.png: 30 x 30, but its photograph .*4_c.png is 23 x 18"


def photograph_as_label(folder: Path) -> str:
    write_image(folder / "train/1_h.png", np.full((18, 23, 3), 100, np.uint8))
    return "1_h.png: not a halftone"


@pytest.mark.parametrize("harm", [delete, truncate, enlarge_both, enlarge_one, photograph_as_label])
def test_a_bad_file_is_reported_by_verify_load_and_batches(tmp_path, harm):
    on_disk(tmp_path)
    photos = PhotoSet.from_lists(tmp_path, "list.json", "train")
    message = harm(tmp_path)
    with pytest.raises(UserError, match=message):
        photos.verify()
    with pytest.raises(UserError, match=message.split(":")[0]):
        photos.load()
    with pytest.raises(UserError, match=message.split(":")[0]):
        photos.load(memory_limit=0)
        photos.load = lambda: None
        list(stream(photos, num_workers=3).batches(0))


def test_arrays_of_other_shapes_or_types_are_an_error():
    with pytest.raises(ValueError, match="are needed"):
        PhotoSet.from_arrays(np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 1, 8, 9), np.uint8))
    with pytest.raises(ValueError, match="uint8 is needed"):
        PhotoSet.from_arrays(np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 1, 8, 8), np.uint8))


def test_closing_a_stream_early_ends_its_threads():
    before = threading.active_count()
    batches = stream(photo_set(50), num_workers=1).batches(0)
    next(batches)
    batches.close()
    assert threading.active_count() == before
