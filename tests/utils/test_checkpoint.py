import os
import pickle
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from model.load import load_network
from model.reshalf import ResHalf
from training.checkpoints import find_checkpoint, write_rotating
from utils.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    BrokenCheckpoint,
    read_checkpoint,
    strip_prefixes,
    write_checkpoint,
)
from utils.errors import UserError


class Payload:
    def __reduce__(self):
        return os.mkdir, ("payload-ran",)


def some(epoch=0):
    generator = torch.Generator().manual_seed(epoch)
    return {"state_dict": {"a": torch.randn(40, 50, generator=generator)}, "epoch": epoch, "optimizer": {"s": (1, 2.5)}}


@contextmanager
def limited_file_size():
    """Writing beyond 4 KB fails as on a full disk. Not a fixture: pytest's own output must not be limited."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_is_written_is_read_back(tmp_path, zipped):
    file = tmp_path / "c.pth.tar"
    torch.save(some(3), file, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(file)
    assert torch.equal(checkpoint["state_dict"]["a"], some(3)["state_dict"]["a"])
    assert (checkpoint["epoch"], checkpoint["optimizer"]) == (3, {"s": (1, 2.5)})


def test_numpy_numbers_and_module_prefix_of_released_checkpoints_are_read(tmp_path):
    file = tmp_path / "c.pth.tar"
    write_checkpoint(file, {"state_dict": {"module.a.b": torch.ones(2)}, "monitor_best": np.float64(0.25)})
    checkpoint = read_checkpoint(file)
    assert list(checkpoint["state_dict"]) == ["a.b"] and checkpoint["monitor_best"] == 0.25


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_checkpoint_of_a_compiled_network_loads(tmp_path, prefix):
    network = ResHalf(width=4)
    file = tmp_path / "c.pth.tar"
    write_checkpoint(file, {"state_dict": {prefix + key: value for key, value in network.state_dict().items()}})
    assert load_network(file).width == 4


def test_a_checkpoint_with_one_compiled_part_loads(tmp_path):
    network = ResHalf(width=4)
    compiled = {key.replace("encoder.", "encoder._orig_mod.", 1): value for key, value in network.state_dict().items()}
    assert compiled.keys() != network.state_dict().keys()
    write_checkpoint(tmp_path / "c.pth.tar", {"state_dict": compiled})
    loaded = load_network(tmp_path / "c.pth.tar").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def test_a_bare_state_dict_counts_as_a_checkpoint(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "c.pth")
    assert list(read_checkpoint(tmp_path / "c.pth")["state_dict"]) == ["a"]


def test_only_a_prefix_that_all_keys_share_is_stripped():
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(strip_prefixes(mixed)) == ["module.a", "b"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_detected(tmp_path, zipped, share):
    file = tmp_path / "c.pth.tar"
    torch.save(some(), file, _use_new_zipfile_serialization=zipped)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BrokenCheckpoint, match="c.pth.tar"):
        read_checkpoint(file)


def test_one_flipped_bit_in_the_weights_is_detected(tmp_path):
    file = tmp_path / "c.pth.tar"
    write_checkpoint(file, some())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BrokenCheckpoint, match="checksum"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "content", [b"", b"P", b"hello" * 99, b"\x89PNG\r\n\x1a\n" + bytes(99), b"PK\x05\x06" + bytes(18)]
)
def test_other_files_are_an_error_with_their_name(tmp_path, content):
    file = tmp_path / "c.pth.tar"
    file.write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match="c.pth.tar: not a checkpoint"):
        read_checkpoint(file)


@pytest.mark.parametrize("save", [torch.save, lambda obj, file: file.write_bytes(pickle.dumps(obj, protocol=2))])
def test_a_pickled_payload_is_refused_and_never_run(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    save({"state_dict": {"a": Payload()}}, tmp_path / "c.pth.tar")
    with pytest.raises(UserError, match="c.pth.tar"):
        read_checkpoint("c.pth.tar")
    assert not (tmp_path / "payload-ran").exists()


def test_a_missing_file_and_a_list_are_different_errors(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none")
    torch.save([1], tmp_path / "list")
    with pytest.raises(BrokenCheckpoint, match="list"):
        read_checkpoint(tmp_path / "list")


def test_a_network_that_does_not_fit_names_the_file(tmp_path):
    write_checkpoint(tmp_path / "c", some())
    with pytest.raises(UserError, match="c: .*first key is"):
        load_network(tmp_path / "c")


def test_a_full_disk_names_the_file_and_keeps_the_old_checkpoint(tmp_path):
    file = tmp_path / LAST
    write_checkpoint(file, {"state_dict": {}, "epoch": 1})
    before = file.read_bytes()
    expected = pytest.raises(UserError, match=f"{LAST}.*cannot write the checkpoint: File too large.* kept")
    with limited_file_size(), expected:
        write_rotating(tmp_path, some())
    assert file.read_bytes() == before and os.listdir(tmp_path) == [LAST]


def test_the_last_two_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        write_rotating(tmp_path, some(epoch))
    assert sorted(os.listdir(tmp_path)) == [LAST, PREVIOUS]
    assert read_checkpoint(tmp_path / LAST)["epoch"] == 3 and read_checkpoint(tmp_path / PREVIOUS)["epoch"] == 2


@pytest.mark.parametrize("target", ["", LAST])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_broken_last_checkpoint_is_replaced_by_the_previous_one_with_a_warning(tmp_path, target, damage):
    for epoch in (1, 2):
        write_rotating(tmp_path, some(epoch))
    if damage == "truncated":
        (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:999])
    else:
        (tmp_path / LAST).unlink()
    if target and damage == "missing":
        with pytest.raises(UserError, match="no such"):
            find_checkpoint(tmp_path / target)
        return
    path, checkpoint, notice = find_checkpoint(tmp_path / target)
    assert (path.name, checkpoint["epoch"]) == (PREVIOUS, 1)
    assert LAST in notice and PREVIOUS in notice


def test_a_complete_checkpoint_is_used_without_a_warning(tmp_path):
    write_rotating(tmp_path, some(1))
    write_rotating(tmp_path, some(2))
    path, checkpoint, notice = find_checkpoint(tmp_path)
    assert (path.name, checkpoint["epoch"], notice) == (LAST, 2, None)


def test_a_broken_best_is_not_replaced_by_an_older_state(tmp_path):
    write_rotating(tmp_path, some(1))
    write_rotating(tmp_path, some(2))
    (tmp_path / BEST).write_bytes(b"x")
    with pytest.raises(BrokenCheckpoint):
        find_checkpoint(tmp_path / BEST)
