import json
from pathlib import Path

import pytest

from reshalf.config import InvHalfConfig, JointConfig, WarmConfig
from training.config import flatten_config, load_config, parse_config
from utils.errors import UserError

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(("kind", "file"), [(WarmConfig, "invhalf_warm.json"), (JointConfig, "invhalf_full.json")])
def test_the_original_files_are_valid_and_all_their_values_are_used(kind, file):
    original = flatten_config(json.loads((SCRIPTS / file).read_text()))
    resolved = flatten_config(load_config(kind, SCRIPTS / file).dump())
    assert original.items() <= resolved.items()


def test_the_defaults_of_the_new_keys_keep_the_original_behaviour():
    original = json.loads((SCRIPTS / "invhalf_full.json").read_text())
    resolved = flatten_config(load_config(JointConfig, SCRIPTS / "invhalf_full.json").dump())
    added = {key: value for key, value in resolved.items() if key not in flatten_config(original)}
    assert added == {
        "width": 64, "levels": 3, "decoder": "hourglass", "blocks": 2, "prior": None, "proxy_ckpt": None,
        "noise": "white", "initialWeights": "torch", "chromaLossWeight": 0.0,
        "data_loader.special_batch_size": None, "lr_sheduler.restart_step": 0, "lr_sheduler.restart_lr": None,
        "vgg_weights": None, "ema_decay": None, "grad_clip": None, "precision": "32-true",
        "channels_last": False, "compile": False, "cuda_graph": False, "freeze": "none",
        "quantizedTone": False, "driftGuard": False, "bitFlip": 0.0, "decoderInput": "halftone",
        "guide_ckpt": None, "guide_share": 0.5,
        "data_loader.crop_size": None, "data_loader.flip": False,
        "trainer.max_steps": None, "trainer.log_every": 50, "trainer.validate_every": 1,
        "trainer.steps_per_epoch": None, "trainer.monitor": "loss", "trainer.save_steps": None,
        "trainer.save_half": False,
        "lr_sheduler.name": "plateau", "lr_sheduler.warmup_steps": 0, "lr_sheduler.min_lr": 0.0,
        "optimizer.betas": [0.9, 0.999],
    }  # fmt: skip


def test_the_warm_up_freezes_the_decoder_and_its_target_is_the_reference():
    config = load_config(WarmConfig)
    assert (config.freeze, config.guidance) == ("decoder", "reference")


@pytest.mark.parametrize(
    "file", sorted([*SCRIPTS.glob("*half*.json"), *SCRIPTS.glob("paper*.json")]), ids=lambda file: file.name
)
def test_every_shipped_config_fits_a_stage(file):
    kinds = {"inversehalf": InvHalfConfig, "invhalf": InvHalfConfig, "warm": WarmConfig}
    assert load_config(kinds.get(file.stem.rpartition("_")[2], JointConfig), file).name


def test_a_resolved_config_loads_back_to_an_equal_one():
    config = load_config(JointConfig, overrides=["prior.kind=dbs", "prior.a=2.5", "multi-gpus=false"])
    assert parse_config(JointConfig, json.loads(json.dumps(config.dump()))) == config


def test_command_line_beats_file_beats_defaults(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"seed": 5, "trainer": {"epochs": 7, "save_epochs": 2}}))
    config = load_config(JointConfig, file, ["trainer.epochs=9", "name=again", "prior.kind=dbs"])
    assert (config.trainer.epochs, config.trainer.save_epochs, config.seed, config.width) == (9, 2, 5, 64)
    assert (config.name, config.prior) == ("again", {"kind": "dbs"})


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.epochs=ten", ["trainer.epochs", '"ten"', "integer"]),
        ("trainer.epochs=0", ["trainer.epochs", "found 0", "greater than or equal to 1"]),
        ("trainer.epoch=3", ["trainer.epoch", "unknown key", "epochs, save_epochs"]),
        ("multi_gpus=true", ["multi_gpus", "unknown key", "multi-gpus"]),
        ("optimizer.lr=true", ["optimizer.lr", "found true", "number"]),
        ("optimizer.lr=NaN", ["optimizer.lr", "finite"]),
        ("optimizer=5", ["optimizer", "found 5", "JSON object"]),
        ("restoreLoss=l3_loss", ["restoreLoss", "l3_loss", "'l2_loss', 'l1_loss', 'charbonnier' or 'psnr'"]),
        ("model=__import__('os')", ["model", "'ResHalf'"]),
        ("data_loader.crop_size=12", ["crop_size", "found 12", "multiple of 8"]),
        ("data_loader.crop_size=8", ["crop_size", "found 8", "greater than or equal to 16"]),
        ("seed=100000000000000000000000", ["seed", "found 1000", "less than 9223372036854775808"]),
        ('prior={"a": [1]}', ["prior", "number, string or true/false"]),
        ("name=../up", ["name", "without slashes"]),
        ("name=..", ["name", "folder name"]),
        ("seed", ["--set seed", "key=value"]),
    ],
)
def test_an_error_is_one_line_with_key_value_found_and_values_allowed(override, parts):
    with pytest.raises(UserError) as caught:
        load_config(JointConfig, overrides=[override])
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("lr_scheduler.name=cosine", "did you mean lr_sheduler?"),
        ("trainer.epoch=3", "did you mean epochs?"),
        ("epochs=3", "did you mean trainer.epochs?"),
        ("multi_gpus=false", "did you mean multi-gpus?"),
        ("restoreloss=l1_loss", "did you mean restoreLoss?"),
        ("cuda=False", "cuda=False: found False, allowed: true or false"),
        ("cuda=no", 'cuda: found "no", allowed: true or false'),
        ("initial_ckpt=None", "initial_ckpt=None: found None, allowed: null"),
    ],
)
def test_a_misspelt_override_is_blamed_itself_and_corrected(tmp_path, override, hint):
    file = tmp_path / "c.json"
    file.write_text('{"trainer": {"epochs": 3}}')
    with pytest.raises(UserError) as caught:
        load_config(JointConfig, file, ["seed=1", override, "width=8"])
    message = str(caught.value)
    assert hint in message and message.startswith(f"--set {override}: ") and str(file) not in message


def test_the_file_is_blamed_for_its_own_mistakes(tmp_path):
    file = tmp_path / "c.json"
    for text, override in (('{"seeds": 3}', "width=8"), ('{"trainer": {"epoch": 3}}', "trainer.epochs=5")):
        file.write_text(text)
        with pytest.raises(UserError, match="unknown key") as caught:
            load_config(JointConfig, file, [override])
        assert str(caught.value).startswith(f"{file}: ") and "--set" not in str(caught.value)
    file.write_text('{"seed": "three"}')
    assert load_config(JointConfig, file, ["seed=3"]).seed == 3
    with pytest.raises(UserError, match="^--set seed=four: seed: found"):
        load_config(JointConfig, file, ["seed=four"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(tmp_path, encoding):
    file = tmp_path / "c.json"
    file.write_text('{"seed": 5}', encoding=encoding)
    assert load_config(JointConfig, file).seed == 5


@pytest.mark.parametrize(
    ("content", "part"), [("{", "line 1"), ("[1]", "JSON object"), (b"\xff\xfe\xfa", "UTF-8"), (None, "No such file")]
)
def test_a_bad_file_is_a_one_line_error_with_its_name(tmp_path, content, part):
    file = tmp_path / "c.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_config(JointConfig, file)
    message = str(caught.value)
    assert message.startswith(str(file)) and part in message and "\n" not in message
