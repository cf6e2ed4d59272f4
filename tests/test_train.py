"""The three training commands: from the command line to checkpoints that load, on generated images."""

import json
import os
import subprocess
import sys
from functools import partial, partialmethod
from pathlib import Path

import cv2
import pytest
import torch

import train
import train_invhalf
import train_warm
from model.load import load_network
from model.reshalf import InverseHalf, ResHalf
from reshalf.streams import CACHES_KEPT
from training.initial import load_initial
from utils.checkpoint import BEST, LAST, read_checkpoint
from utils.errors import UserError
from utils.files import locked

SCRIPTS = Path(__file__).parents[1] / "scripts"
SIDE = 32


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(SIDE)


@pytest.fixture
def arguments(data, tmp_path):
    """Function: settings → command line of a small run in tmp_path."""

    def make(*flags, **settings):
        small = {
            "data_dir": str(data),
            "save_dir": str(tmp_path),
            "cuda": False,
            "width": 4,
            "optimizer.lr": 0.003,
            "data_loader.batch_size": 4,
            "trainer.epochs": 3,
        }
        pairs = small | {key.replace("__", "."): value for key, value in settings.items()}
        return [*flags, *(part for key, value in pairs.items() for part in ("--set", f"{key}={json.dumps(value)}"))]

    return make


def losses(folder):
    return [float(line) for line in (folder / "total_per_epoch.txt").read_text().split()]


def test_the_loss_of_each_stage_falls_and_each_stage_loads_the_previous_one(arguments, tmp_path):
    quiet = {"trainer__epochs": 12, "trainer__validate_every": None}
    assert train_invhalf.main(arguments(**quiet, name="extractor", optimizer__lr=0.01)) == 0
    extractor = tmp_path / "extractor" / BEST
    assert train_warm.main(arguments(**quiet, name="warm", extractor_ckpt=str(extractor))) == 0
    warm = tmp_path / "warm" / BEST
    assert train.main(arguments(**quiet, name="full", vggLossWeight=0, initial_ckpt=str(warm))) == 0
    for stage in ("extractor", "warm", "full"):
        assert losses(tmp_path / stage)[-1] < 0.9 * losses(tmp_path / stage)[0], stage
    assert isinstance(load_network(extractor), InverseHalf)
    assert isinstance(load_network(tmp_path / "full" / BEST), ResHalf)


@pytest.mark.parametrize(("command", "file"), [(train, "invhalf_full.json"), (train_warm, "invhalf_warm.json")])
def test_the_original_configs_run(arguments, tmp_path, command, file):
    extra = {"vggLossWeight": 0, "initial_ckpt": None} if command is train else {"featureLossWeight": 0}
    assert command.main(arguments("-c", str(SCRIPTS / file), trainer__max_steps=1, **extra)) == 0
    name = json.loads((SCRIPTS / file).read_text())["name"]
    assert json.loads((tmp_path / name / "config.json").read_text())["seed"] == 131


SETTINGS = {
    "vggLossWeight": 0,
    "data_loader__crop_size": 24,
    "data_loader__flip": True,
    "trainer__epochs": 4,
    "trainer__validate_every": 2,
    "bitFlip": 0.05,
    "ema_decay": 0.9,
}


@pytest.mark.parametrize("prior", [None, {"halftone": "error_diffusion", "correction": True}], ids=["noise", "prior"])
def test_a_run_resumed_in_the_middle_of_an_epoch_ends_with_the_same_bits(arguments, tmp_path, prior, capsys):
    assert train.main(arguments(name="alone", prior=prior, **SETTINGS)) == 0
    assert train.main(arguments("-r", "auto", name="cut", prior=prior, trainer__max_steps=3, **SETTINGS)) == 0
    assert "no run to resume" in capsys.readouterr().out
    assert train.main(arguments("-r", "auto", name="cut", prior=prior, **SETTINGS)) == 0
    assert "trainer.max_steps was 3, is now null" in capsys.readouterr().out
    alone, cut = (read_checkpoint(tmp_path / name / LAST) for name in ("alone", "cut"))
    assert alone["step"] == cut["step"] == 8
    for key in ("state_dict", "ema"):
        assert all(torch.equal(alone[key][name], cut[key][name]) for name in alone[key])
    assert losses(tmp_path / "alone") == losses(tmp_path / "cut")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_warm_up_resumed_before_at_or_after_the_end_of_its_start_ends_with_the_same_bits(arguments, tmp_path, cut):
    settings = {"start": {"steps": 2, "target": "orientation", "weight": 0.1}, "noise": "blue"}
    settings |= {"initialWeights": "variance", "featureLossWeight": 0, "data_loader__special_batch_size": 2}
    settings |= {"lr_sheduler": {"name": "constant", "warmup_steps": 2, "restart_step": 2}}
    settings |= {"trainer__epochs": 4, "trainer__steps_per_epoch": 1, "trainer__validate_every": None}
    assert train_warm.main(arguments(name="alone", **settings)) == 0
    assert train_warm.main(arguments(name="cut", trainer__max_steps=cut, **settings)) == 0
    assert read_checkpoint(tmp_path / "cut" / LAST)["step"] == cut
    assert train_warm.main(arguments("-r", "auto", name="cut", **settings)) == 0
    alone, resumed = (read_checkpoint(tmp_path / name / LAST)["state_dict"] for name in ("alone", "cut"))
    assert all(torch.equal(alone[name], value) for name, value in resumed.items())
    assert losses(tmp_path / "alone") == losses(tmp_path / "cut")
    tone = [(tmp_path / name / "tone_per_epoch.txt").read_text().split() for name in ("alone", "cut")]
    assert tone[0] == tone[1] and tone[0][:2] == ["nan", "nan"] and len(tone[0]) == 4


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"data_loader__batch_size": 2}, "batch_size: found 2, allowed: 4, the value of the run so far"),
        ({"data_loader__special_batch_size": 2}, "special_batch_size: found 2, allowed: null, the value of"),
        ({"trainer__steps_per_epoch": 4}, "steps in an epoch: found 4, allowed: 2, the value of the run so far"),
    ],
)
def test_a_run_cannot_be_resumed_with_another_batch_or_epoch_size(arguments, tmp_path, capsys, changes, part):
    settings = {"name": "run", "vggLossWeight": 0, "trainer__validate_every": None}
    assert train.main(arguments(trainer__epochs=1, **settings)) == 0
    logged = losses(tmp_path / "run")
    capsys.readouterr()
    assert train.main(arguments("-r", "auto", **(settings | changes))) == 2
    error = capsys.readouterr().err
    assert part in error and error.count("\n") == 1
    assert losses(tmp_path / "run") == logged


def test_a_finished_run_resumed_by_its_folder_alone_trains_nothing(arguments, tmp_path, capsys):
    train.main(arguments(name="run", vggLossWeight=0, trainer__epochs=1))
    before = (tmp_path / "run" / LAST).read_bytes()
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert "nothing left to train" in capsys.readouterr().out
    assert (tmp_path / "run" / LAST).read_bytes() == before


def test_a_compiled_network_trains_like_an_eager_one(arguments, tmp_path, monkeypatch):
    run = {"name": "eager", "vggLossWeight": 0, "trainer__max_steps": 2}
    assert train.main(arguments(**run)) == 0
    traced = []

    def backend(graph, _):  # records the traced graphs, needs no C++ compiler
        traced.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=backend))
    assert train.main(arguments(**run | {"name": "compiled", "compile": True})) == 0
    assert len(traced) > 2
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), rel=1e-4)


def test_compile_without_a_compiler_is_a_one_line_error_before_any_work(arguments, tmp_path):
    without = os.environ | {"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "train.py", *arguments(name="run", vggLossWeight=0, compile=True)]
    ended = subprocess.run(command, cwd=SCRIPTS.parent, env=without, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: compile: found true, but torch cannot compile here")
    assert not (tmp_path / "run").exists()


def test_a_learned_correction_starts_from_a_decoder_trained_alone(arguments, tmp_path, capsys):
    alone = {"halftone": "error_diffusion"}
    assert train.main(arguments(name="decoder", vggLossWeight=0, prior=alone, trainer__save_half=True)) == 0
    first = str(tmp_path / "decoder" / BEST)
    corrected = arguments(name="both", vggLossWeight=0, prior=alone | {"correction": True}, initial_ckpt=first)
    assert train.main(corrected) == 0
    assert "has no encoder; this part keeps its own initial weights" in capsys.readouterr().out
    network = ResHalf(4, alone | {"correction": True})
    assert load_initial(network, first) == ["encoder"]
    stored = read_checkpoint(first)["state_dict"]
    assert all(
        torch.equal(value, stored[f"decoder.{key}"].float()) for key, value in network.decoder.state_dict().items()
    )


def test_initial_weights_of_another_size_are_an_error(arguments, tmp_path):
    prior = {"halftone": "error_diffusion"}
    short = {"vggLossWeight": 0, "prior": prior, "decoder": "subpixel", "trainer__max_steps": 1}
    assert train.main(arguments(name="short", **short, blocks=1)) == 0
    for width, blocks in ((8, 1), (4, 0)):
        with pytest.raises(UserError, match="does not fit the configured network"):
            network = ResHalf(width, prior, decoder="subpixel", blocks=blocks)
            load_initial(network, str(tmp_path / "short" / LAST))


def test_only_the_most_recently_used_halftone_caches_are_kept(arguments, data):
    def train_on(amplitude, name):
        prior = {"halftone": "error_diffusion", "amplitude": amplitude}
        settings = {"vggLossWeight": 0, "prior": prior, "trainer__max_steps": 1}
        assert train.main(arguments(name=name, **settings)) == 0
        kept = sorted(data.glob(".prior_HalftoneVOC2012_train_*.npz"), key=lambda path: path.stat().st_mtime)
        assert len(kept) <= CACHES_KEPT and len(list(data.glob(".prior_*_val_*.npz"))) == len(kept)
        return kept

    first = train_on(2.0, "first")[-1]
    for amplitude in range(3, 3 + CACHES_KEPT - 1):
        assert first in train_on(amplitude, f"other{amplitude}")
    assert train_on(2.0, "again")[-1] == first
    assert first in train_on(9, "one more") and first in train_on(10, "another")


def test_validation_writes_metrics_spectrum_and_images(arguments, tmp_path):
    train.main(arguments(name="run", vggLossWeight=0, trainer__epochs=1))
    metrics = json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[-1])["validation"]
    assert metrics.keys() == {"restored_psnr", "restored_ssim", "tone_psnr"}
    assert cv2.imread(str(tmp_path / "run" / "spectrum.png")) is not None
    assert len(list((tmp_path / "run" / "train_cache" / "restored").iterdir())) == 2


@pytest.mark.parametrize("command", [train, train_warm, train_invhalf])
def test_a_dry_run_prints_the_resolved_config_and_creates_nothing(command, tmp_path, capsys):
    assert command.main(["--dry-run", "--set", f"save_dir={tmp_path}", "--set", "trainer.epochs=7"]) == 0
    assert json.loads(capsys.readouterr().out)["trainer"]["epochs"] == 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "settings", "part"),
    [
        (train, {"trainer__epoch": 1}, "trainer.epoch: unknown key, known: epochs"),
        (train, {"vggLossWeight": 0, "prior": {"halftoning": "x"}}, "prior has no setting 'halftoning'; known are"),
        (train, {"vggLossWeight": 0, "data_dir": "nowhere"}, "nowhere/HalftoneVOC2012.json: cannot be read"),
        (train, {"vgg_weights": "nofile", "data_dir": "nowhere"}, "; python -m dataset.prepare makes it"),
        (train_warm, {"extractor_ckpt": "nofile", "data_dir": "nowhere"}, "nowhere/HalftoneVOC2012.json: cannot be"),
        (train, {"vggLossWeight": 0, "initial_ckpt": "nofile"}, "initial_ckpt: nofile: no such checkpoint file"),
        (train, {"vggLossWeight": 0, "data_loader__crop_size": 64}, "crop_size: 64 does not fit"),
        (
            train,
            {"vggLossWeight": 0, "trainer__validate_every": None, "trainer__monitor": "restored_psnr"},
            'trainer.monitor: found "restored_psnr", allowed without validation images: "loss"',
        ),
        (train, {"vgg_weights": "nofile"}, "fetch https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"),
        (
            train,
            {"vggLossWeight": 0, "prior": {"halftone": "error_diffusion"}, "freeze": "decoder"},
            "nothing to train",
        ),
        (train_warm, {"extractor_ckpt": "nofile"}, "extractor_ckpt: nofile: no such checkpoint file; train_invhalf.py"),
        (train_invhalf, {"prior": {}}, "prior: unknown key"),
    ],
)
def test_an_error_in_the_input_is_one_line_and_nothing_is_created(arguments, tmp_path, capsys, command, settings, part):
    assert command.main(arguments(**settings)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and part in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_run_is_not_overwritten(arguments, tmp_path, capsys):
    train.main(arguments(name="run", vggLossWeight=0, trainer__epochs=1))
    before = (tmp_path / "run" / LAST).read_bytes()
    assert train.main(arguments(name="run", vggLossWeight=0)) == 2
    assert "contains a run; continue it with --resume auto" in capsys.readouterr().err
    assert (tmp_path / "run" / LAST).read_bytes() == before


def test_two_trainings_do_not_write_into_one_folder(arguments, tmp_path, capsys):
    flags = arguments("-r", "auto", name="run", vggLossWeight=0, trainer__max_steps=1)
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run/.lock", "busy"):  # as the first training does
        assert train.main(flags) == 2
        assert capsys.readouterr().err.endswith(f"error: {tmp_path / 'run'}: another training is writing into it\n")
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert train.main(flags) == 0
    with locked(tmp_path / "run/.lock", "busy"):
        pass  # the lock was released


def test_resuming_another_run_does_not_overwrite_a_folder_with_a_run(arguments, tmp_path, capsys):
    for name in ("run", "other"):
        assert train.main(arguments(name=name, vggLossWeight=0, trainer__max_steps=1)) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    other = str(tmp_path / "other" / LAST)
    assert train.main(arguments("--resume", other, name="run", vggLossWeight=0)) == 2
    assert "contains a run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    own = str(tmp_path / "run" / LAST)
    assert train.main(arguments("--resume", own, name="run", vggLossWeight=0, trainer__max_steps=2)) == 0
    assert train.main(arguments("--resume", other, name="branch", vggLossWeight=0, trainer__max_steps=2)) == 0


def test_a_failed_resume_does_not_change_the_config_of_the_folder(arguments, tmp_path, capsys):
    settings = {"name": "run", "vggLossWeight": 0, "trainer__max_steps": 1}
    assert train.main(arguments(**settings)) == 0
    before = (tmp_path / "run" / "config.json").read_bytes()
    assert train.main(arguments("--resume", "auto", **(settings | {"width": 8}))) == 2
    assert "does not fit the configured network" in capsys.readouterr().err
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_a_checkpoint_of_another_stage_is_an_error_as_initial_weights(arguments, tmp_path, capsys):
    train_invhalf.main(arguments(name="extractor", trainer__max_steps=1, trainer__validate_every=None))
    wrong = str(tmp_path / "extractor" / BEST)
    assert train.main(arguments(vggLossWeight=0, initial_ckpt=wrong)) == 2
    assert "does not fit the configured network" in capsys.readouterr().err


def test_the_shipped_recipe_trains_a_proxy_and_then_a_decoder_for_the_guided_prior(arguments, tmp_path, capsys):
    small = {
        "trainer__steps_per_epoch": 2,
        "data_loader__crop_size": 16,
        "channels_last": False,
        "precision": "32-true",
    }
    first = {**small, "width": 16}
    assert train.main(arguments("--config", str(SCRIPTS / "reshalf_proxy.json"), **first)) == 0
    unguided = str(tmp_path / "reshalf_proxy" / BEST)
    second = {**first, "name": "again", "proxy_ckpt": unguided, "initial_ckpt": unguided}
    assert train.main(arguments("--config", str(SCRIPTS / "reshalf_proxy_guided.json"), **second)) == 0
    missing = arguments("--config", str(SCRIPTS / "reshalf_prior.json"), **small, proxy_ckpt="no.pth.tar")
    assert train.main(missing) == 2
    assert "error: proxy_ckpt: no.pth.tar" in capsys.readouterr().err
    proxy = tmp_path / "again" / BEST
    third = {**second, "name": "onwards", "proxy_ckpt": str(proxy), "initial_ckpt": str(proxy), "trainer__epochs": 1}
    assert (
        train.main(arguments("--config", str(SCRIPTS / "reshalf_proxy_guided.json"), **third, optimizer__lr=1e-9)) == 0
    )
    onwards, guide = (load_network(tmp_path / name / BEST) for name in ("onwards", "again"))
    for key, value in guide.decoder.state_dict().items():  # not the proxy of its own training
        assert torch.equal(onwards.proxy.state_dict()[key], value)
        torch.testing.assert_close(onwards.decoder.state_dict()[key], value, rtol=0, atol=1e-3)
    settings = arguments("--config", str(SCRIPTS / "reshalf_prior.json"), **small, proxy_ckpt=str(proxy))
    assert train.main([*settings, "--set", "trainer.max_steps=3"]) == 0
    assert train.main([*settings, "--resume", "auto"]) == 0
    trained, guide = (load_network(path) for path in (tmp_path / "reshalf_prior" / BEST, proxy))
    assert trained.blocks == 10 and trained.prior.guidance > 0 and trained.prior.pilot > 0
    for key, value in guide.decoder.state_dict().items():
        assert torch.equal(trained.proxy.state_dict()[key], value)
    whole = arguments("--config", str(SCRIPTS / "reshalf_prior.json"), **small, proxy_ckpt=str(proxy), name="whole")
    assert train.main(whole) == 0
    resumed, at_once = (read_checkpoint(tmp_path / name / LAST)["state_dict"] for name in ("reshalf_prior", "whole"))
    assert all(torch.equal(resumed[key], value) for key, value in at_once.items())
