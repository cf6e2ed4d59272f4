"""The three descreening stages from the command line: loss decrease, transfer between stages, resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from descreen import train
from model.load import load_network
from training.config import load_config
from utils.checkpoint import BEST, LAST, read_checkpoint

SCRIPTS = Path(__file__).parents[2] / "scripts"
SIDE = 48


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(SIDE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the runs go."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def arguments(data, place):
    """Function from settings to a command line of a small run in `place`."""

    def make(*flags, **settings):
        small = {
            "data_dir": str(data),
            "save_dir": str(place),
            "cuda": False,
            "width": 8,
            "coarse.gram": 0,
            "details.gram": 0,
            "data_loader.batch_size": 4,
            "data_loader.crop_size": 32,
            "data_loader.special_set": None,
            "optimizer.lr": 0.003,
            "trainer.epochs": 3,
        }
        pairs = small | {key.replace("__", "."): value for key, value in settings.items()}
        return [*flags, *(part for key, value in pairs.items() for part in ("--set", f"{key}={json.dumps(value)}"))]

    return make


def losses(folder, name="total"):
    return [float(line) for line in (folder / f"{name}_per_epoch.txt").read_text().split()]


def validated(folder):
    lines = map(json.loads, (folder / "stats.jsonl").read_text().splitlines())
    return [line["validation"] for line in lines if "validation" in line]


DETAILS = {"model": "DetailsNet", "objects": "small", "trainer__epochs": 4}


@pytest.fixture(scope="module")
def stages(arguments, place):
    """Run folder with a trained coarse and edge stage."""
    quiet = {"trainer__validate_every": None, "trainer__epochs": 16}
    own = {
        "coarse_net__kind": "residual",
        "coarse_net__deepest": 24,
        "coarse_net__waves": True,
        "coarse_net__inks": True,
        "coarse__psnr": 1,
    }
    assert train.main(arguments(**quiet, **own, name="coarse")) == 0
    coarse = str(place / "coarse" / BEST)
    assert train.main(arguments(**quiet, name="edge", model="EdgeNet", coarse_ckpt=coarse)) == 0
    return place


def test_every_stage_lowers_its_loss_and_keeps_the_earlier_parts(arguments, stages):
    edge = str(stages / "edge" / BEST)
    assert train.main(arguments(**DETAILS | {"trainer__epochs": 30}, name="details", edge_ckpt=edge)) == 0
    for stage, name in (("coarse", "l1"), ("edge", "total"), ("details", "l1"), ("details", "discriminator")):
        values = losses(stages / stage, name)
        assert np.mean(values[-3:]) < 0.9 * np.mean(values[:2]), stage
    assert (stages / "details" / "adversarial_per_epoch.txt").exists()
    network = load_network(stages / "details" / BEST)
    assert network.arch() == {
        "name": "Descreener",
        "width": 8,
        "parts": ["coarse", "edge", "details"],
        "objects": "small",
        "tone": False,
        "kind": "residual",
        "deepest": 24,
        "blur": 0.0,
        "waves": True,
        "inks": True,
        "down_blocks": [2, 2, 2],
        "up_blocks": [2, 1, 0],
    }
    earlier = load_network(edge).state_dict()
    assert all(torch.equal(network.state_dict()[key], value) for key, value in earlier.items())
    assert all("restored_psnr" in found for found in validated(stages / "details"))


def test_adversarial_training_costs_at_most_half_a_decibel(arguments, place):
    few = {"trainer__epochs": 1}
    assert train.main(arguments(**few, name="blurring", coarse_net__blur=1.0)) == 0
    coarse = str(place / "blurring" / BEST)
    assert train.main(arguments(**few, name="its edges", model="EdgeNet", coarse_ckpt=coarse)) == 0
    edge = str(place / "its edges" / BEST)
    assert train.main(arguments(**DETAILS | {"trainer__epochs": 8}, name="its details", edge_ckpt=edge)) == 0
    before, after = (validated(place / name)[-1]["restored_psnr"] for name in ("blurring", "its details"))
    assert after > before - 0.5
    assert load_network(place / "its details" / BEST).settings["blur"] == 1.0


def test_a_resumed_run_with_discriminators_is_bit_identical(arguments, stages):
    settings = DETAILS | {"edge_ckpt": str(stages / "edge" / BEST), "ema_decay": 0.9, "trainer__save_half": True}
    assert train.main(arguments(**settings, name="alone")) == 0
    assert train.main(arguments(**settings, name="cut", trainer__max_steps=3)) == 0
    assert train.main(arguments("-r", "auto", **settings, name="cut")) == 0
    alone, cut = (read_checkpoint(stages / name / LAST) for name in ("alone", "cut"))
    assert alone["step"] == cut["step"] == 8
    for key in ("state_dict", "partners", "ema"):
        assert alone[key] and all(torch.equal(alone[key][name], cut[key][name]) for name in alone[key]), key


def test_adversarial_training_runs_on_two_processes(arguments, stages):
    settings = DETAILS | {"edge_ckpt": str(stages / "edge" / BEST), "trainer__max_steps": 3}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launch, "-m", "descreen.train", *arguments(**settings, name="two")]
    done = subprocess.run(command, cwd=SCRIPTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = read_checkpoint(stages / "two" / LAST)
    assert last["step"] == 3 and len(last["rng"]) == 2 and last["partners"]
    assert train.main(arguments(**settings, name="one")) == 0
    # Batch-norm statistics are per process, so the losses agree only approximately.
    one, two = (losses(stages / name, "l1")[0] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=0.2)


def test_a_missing_or_unfitting_earlier_stage_is_reported(arguments, stages, capsys):
    assert train.main(arguments(model="DetailsNet")) == 2
    assert "edge_ckpt: null, allowed: the checkpoint of the stage before" in capsys.readouterr().err
    coarse = str(stages / "coarse" / BEST)
    assert train.main(arguments(model="DetailsNet", edge_ckpt=coarse)) == 2
    assert "contains coarse of width 8, needed: coarse, edge" in capsys.readouterr().err
    assert train.main(arguments(model="EdgeNet", coarse_ckpt=coarse, width=16)) == 2
    assert "needed: coarse of width 16" in capsys.readouterr().err
    edge = str(stages / "edge" / BEST)
    assert train.main(arguments(model="DetailsNet", edge_ckpt=edge, objects="parser")) == 2
    assert "object_weights: the parser needs the folder of its public weights" in capsys.readouterr().err


def test_an_invalid_screen_setting_is_reported(arguments, capsys):
    assert train.main(arguments(screens__pitch_min=9.0)) == 2
    assert "screens: found" in (message := capsys.readouterr().err) and "pitch_min up to pitch_max" in message
    assert train.main(arguments(screens__dots=3)) == 2
    assert "screens.dots: unknown key, known: am, line, fm" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["descreen_coarse.json", "descreen_edge.json", "descreen_details.json"])
def test_shipped_configs_share_width_and_screens_and_stay_under_6_megabytes(file):
    config = load_config(train.DescreenConfig, SCRIPTS / file)
    first = load_config(train.DescreenConfig, SCRIPTS / "descreen_coarse.json")
    assert (config.width, config.screens) == (first.width, first.screens)
    with torch.device("meta"):
        parts = ("coarse", "edge", "details")
        network = train.Descreener(config.width, parts, "small", **first.coarse_net.model_dump())
    assert sum(2 * value.numel() for value in network.state_dict().values()) < 6e6


def test_config_defaults_are_the_recipe_of_the_paper():
    config = load_config(train.DescreenConfig, None, ["data_loader.batch_size=4", "trainer.save_epochs=1"])
    assert (config.optimizer_type, config.optimizer.lr, config.trainer.epochs) == ("Adam", 1e-4, 20)
    assert (config.lr_sheduler.name, config.lr_sheduler.factor) == ("exponential", 0.9)
    assert (config.data_loader.crop_size, config.data_loader.flip, config.screens.rotate) == (224, True, 30)
    assert (config.coarse_net.kind, config.width) == ("unet", 64)
