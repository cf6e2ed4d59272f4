"""All steps from photographs to the paper's table, with six photographs and a tiny network."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import evaluate
import train
import train_invhalf
import train_warm
from dataset import prepare
from images.listing import list_images
from scripts import reproduce

ROOT = Path(__file__).parents[1]
ENTRY = {
    "train_invhalf.py": train_invhalf.main,
    "train_warm.py": train_warm.main,
    "train.py": train.main,
    "evaluate.py": lambda argv: evaluate.main([*argv, "--no-spectra", "--no-robustness"]),
}
TINY = ["width=4", "trainer.epochs=1", "trainer.max_steps=2", "data_loader.batch_size=2", "cuda=false"]
TINY += ["data_loader.crop_size=32"]
STEPS = {
    "cpu": ["dataset.prepare", "train_invhalf.py", "train.py", "train_warm.py", "train.py", "evaluate.py"],
    "released": ["dataset.prepare", "train_invhalf.py", "train_warm.py", "train.py", "evaluate.py"],
}


@pytest.fixture
def voc(tmp_path):
    """A VOC2012 folder with six small photographs."""
    folder = tmp_path / "VOC2012/JPEGImages"
    folder.mkdir(parents=True)
    for path in list_images(ROOT / "test_imgs")[:6]:
        cv2.imwrite(str(folder / f"{path.stem}.jpg"), cv2.resize(cv2.imread(str(path)), (64, 48)))
    return folder.parent


@pytest.fixture
def in_process(monkeypatch):
    """Run the steps in this process, from the repository's root; the list of the scripts that ran."""
    ran = []

    def call(step):
        monkeypatch.chdir(ROOT)
        ran.append(step[1] if step[0] == "-m" else step[0])
        return prepare.main([*step[2:], "--specials", "8"]) if step[0] == "-m" else ENTRY[step[0]](step[1:])

    monkeypatch.setattr(reproduce, "call", call)
    return ran


@pytest.mark.parametrize("recipe", STEPS)
def test_all_steps_run_and_the_second_run_trains_nothing(voc, in_process, tmp_path, capsys, recipe):
    out = tmp_path / "paper"
    command = ["--voc", str(voc), "--out", str(out), "--size", "48", "--vgg_weights", "none"]
    command += ["--recipe", recipe]
    command += [part for setting in TINY for part in ("--set", setting)]
    assert reproduce.main(command) == 0
    assert in_process == STEPS[recipe]
    found = json.loads((out / "measured/metrics.json").read_text())
    assert found["photos"] == 1 and 0 < found["mean"]["restoration"]["network"]["psnr"] < 60
    assert "restoration" in capsys.readouterr().out
    assert reproduce.main(command) == 0, "the second run finds everything done"
    assert "nothing left to train" in capsys.readouterr().out


def test_no_step_runs_after_one_that_fails(voc, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(reproduce, "call", lambda step: ran.append(step) or len(ran) - 1)
    assert reproduce.main(["--voc", str(voc), "--out", str(tmp_path / "paper")]) == 1
    assert len(ran) == 2


@pytest.mark.parametrize(("codes", "end"), [([3, 0, 0, 0, 0, 0], 0), ([0, 3], 3), ([2], 2)])
def test_skipped_photographs_do_not_end_the_run(voc, monkeypatch, tmp_path, capsys, codes, end):
    left = list(codes)
    monkeypatch.setattr(reproduce, "call", lambda step: left.pop(0))
    assert reproduce.main(["--voc", str(voc), "--out", str(tmp_path / "paper")]) == end
    assert not left and ("left out" in capsys.readouterr().out) == (codes[0] == 3)


STEP = """
import signal, sys, time
def save(*_):
    time.sleep(0.6)
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("begun", flush=True)
time.sleep(60)
"""


def test_after_sigterm_it_waits_until_the_step_has_saved():
    text = f"import sys\nfrom scripts import reproduce\nreproduce.commands = lambda args: [['-c', {STEP!r}]]\n"
    text += "sys.exit(reproduce.main(['--voc', '.']))"
    with subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert any(line == "begun\n" for line in process.stdout)
        process.terminate()
        assert process.wait(30) == 143
        assert process.stdout.read() == "saved\n"


@pytest.mark.parametrize("recipe", reproduce.RECIPES)
def test_every_step_reads_and_writes_below_the_given_folder(voc, tmp_path, recipe):
    """No file of another run or of the repository is changed."""
    out = tmp_path / "paper"
    command = ["--voc", str(voc), "--out", str(out), "--recipe", recipe, "--vgg_weights", "v.pth"]
    for step in reproduce.commands(reproduce.parse(command)):
        line = " ".join(step)
        for own in ("--out ", "data_dir=", "--data_dir ", "save_dir=", "--save_dir ", "_ckpt="):
            assert all(rest.startswith(str(out)) for rest in line.split(own)[1:]), line
        assert str(out) in line


def test_a_dry_run_prints_the_steps_and_runs_none(voc, in_process, tmp_path, capsys):
    assert reproduce.main(["--voc", str(voc), "--out", str(tmp_path / "paper"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and all(line.startswith("$ python ") for line in lines)
    assert not in_process and not (tmp_path / "paper").exists()


def test_a_folder_without_photographs_is_a_one_line_error(tmp_path, capsys):
    assert reproduce.main(["--voc", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_make_reproduce_without_a_folder_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(["--voc", ""])
    assert "VOC=path/to/VOC2012" in capsys.readouterr().err
