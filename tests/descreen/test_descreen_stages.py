"""All steps from photographs to the table of the four networks, with six photographs and tiny networks."""

from pathlib import Path

import cv2
import pytest

from dataset import prepare
from descreen import evaluate, train
from images.listing import list_images
from scripts import descreen_stages, reproduce

MODULES = {"dataset.prepare": prepare.main, "descreen.train": train.main, "descreen.evaluate": evaluate.main}
TINY = ["width=4", "data_loader.batch_size=2", "data_loader.crop_size=64", "precision=32-true", "cuda=false"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command line; its steps run in this process, with two kinds of print instead of all."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in list_images(Path(__file__).parents[2] / "test_imgs")[:6]:
        cv2.imwrite(str(photos / path.name), cv2.resize(cv2.imread(str(path)), (96, 96)))
    monkeypatch.setattr(reproduce, "call", lambda step: MODULES[step[1]](step[2:]))
    monkeypatch.setattr(descreen_stages, "KINDS", ("AM", "floyd_steinberg"))
    arguments = ["--photos", str(photos), "--out", str(tmp_path / "out"), "--steps", "4"]
    return [*arguments, *(part for pair in TINY for part in ("--set", pair))]


def test_one_command_trains_the_networks_and_prints_what_each_adds(command, capsys, tmp_path):
    assert descreen_stages.main(command) == 0
    table = capsys.readouterr().out.split("descreen.evaluate")[-1]
    for name in ("coarse/model_best", "details/model_best, coarse", "objects/model_best", "discriminators/model_best"):
        assert table.count(f"  {name} ") == 2, table
    trained = {path.parent.name for path in (tmp_path / "out").glob("*/model_best.pth.tar")}
    assert trained == {"coarse", "edge", "details", "objects", "discriminators"}
    assert descreen_stages.main(command) == 0
    assert capsys.readouterr().out.count("nothing left to train") == 5, "the second run finds everything done"


def test_the_weights_of_the_scene_parser_are_for_the_networks_with_object_maps(command, tmp_path):
    steps = descreen_stages.commands(descreen_stages.parse([*command, "--object_weights", str(tmp_path)]))
    for setting in ("objects=parser", f"object_weights={tmp_path.resolve()}"):
        assert [setting in step for step in steps] == [False] * 4 + [True] * 2 + [False]


def test_too_few_steps_are_wrong_usage(command):
    with pytest.raises(SystemExit) as stopped:
        descreen_stages.main([*command, "--steps", "3"])
    assert stopped.value.code == 2
