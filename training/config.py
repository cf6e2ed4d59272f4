"""Training configs: a JSON file over typed defaults, validated before anything is created.

The keys are those of the released system (`lr_sheduler` and `multi-gpus` included), so its files run unmodified.
"""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from utils.errors import UserError, did_you_mean
from utils.files import read_json

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FolderName = Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")]
Positive = Annotated[int, Field(ge=1)]
# Pixels. 16 is the least that the 11 x 11 filters and the four poolings of VGG19 accept.
CropSize = Annotated[int, Field(ge=16, multiple_of=8)]
Config = TypeVar("Config", bound="TrainConfig")
ScheduleName = Literal["plateau", "cosine", "constant", "exponential"]
ShareBelowOne = Annotated[float, Field(gt=0, lt=1)]
Decays = Annotated[list[ShareBelowOne], Field(min_length=2, max_length=2)]


class Strict(BaseModel):
    """A section of a config: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class TrainerConfig(Strict):
    """Length of a training, and what it logs, saves and validates."""

    epochs: Positive = 1000
    save_epochs: Positive = 5  # the resumable state is saved every 5 epochs
    save_steps: Positive | None = None  # and also every so many steps
    max_steps: Positive | None = None  # end here even if `epochs` are not complete
    steps_per_epoch: Positive | None = None  # null: one pass over the photographs
    log_every: Positive = 50  # steps
    validate_every: Positive | None = 1  # epochs; null: never
    # Metric that selects model_best: the lowest mean training loss of an epoch, or the highest validation metric.
    monitor: Literal["loss", "restored_psnr", "restored_ssim", "tone_psnr"] = "loss"
    save_half: bool = False  # store model_best in float16


class DataConfig(Strict):
    """Photographs and batches (dataset.batches.BatchStream)."""

    dataset: str = "HalftoneVOC2012.json"  # list of photographs and reference halftones in data_dir
    special_set: str | None = "special_color.json"  # list of constant colours; null: none
    batch_size: Positive = 8  # photographs of the joint batch of all processes
    special_batch_size: Positive | None = None  # constant colours of the joint batch; null: as many as photographs
    shuffle: bool = True  # a new order in each epoch
    num_workers: Annotated[int, Field(ge=0)] = 32  # threads that read files ahead; values do not depend on it
    crop_size: CropSize | None = None  # side of random square crops, pixels; null: whole photographs
    flip: bool = False  # random horizontal mirroring


class OptimizerConfig(Strict):
    """Settings of torch's optimizer."""

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4  # base rate, before schedule and warm-up
    betas: Decays = [0.9, 0.999]  # decay of the means of the gradient and of its square
    weight_decay: Weight = 0.0


class ScheduleConfig(Strict):
    """Learning rate schedule (training.schedule.LearningRate)."""

    name: ScheduleName = "plateau"
    factor: ShareBelowOne = 0.5  # the rate is multiplied by it at a plateau, or after each epoch of an exponential
    patience: Annotated[int, Field(ge=0)] = 3  # plateau: epochs without a lower loss before the rate is reduced
    threshold: Weight = 1e-5  # plateau: smallest relative decrease that counts as a lower loss
    cooldown: Annotated[int, Field(ge=0)] = 0  # plateau: epochs after a reduction that are not counted
    warmup_steps: Annotated[int, Field(ge=0)] = 0  # steps of linear increase at the beginning
    min_lr: Weight = 0.0
    restart_step: Annotated[int, Field(ge=0)] = 0  # step at which warm-up and cosine start again; 0: none
    restart_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # base rate after it; null: as before


class TrainConfig(Strict):
    """Settings of every training."""

    excluded_from_initial: ClassVar[tuple[str, ...]] = ()  # parts of the network that initial_ckpt does not set

    name: FolderName  # of the run folder in save_dir
    model: str
    initial_ckpt: str | None = None  # checkpoint with the initial weights
    data_dir: str = "dataset/"  # lists and photographs
    save_dir: str = "./"  # parent of the run folder
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 131  # of weights, data order and noise
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 64  # channels of the first layer; 64 in the paper
    trainer: TrainerConfig = TrainerConfig()
    data_loader: DataConfig = DataConfig()
    optimizer_type: Literal["Adam", "AdamW"] = "Adam"
    optimizer: OptimizerConfig = OptimizerConfig()
    lr_sheduler: ScheduleConfig = ScheduleConfig()
    cuda: bool = True  # on the CPU where there is no CUDA device
    multi_gpus: bool = Field(default=True, alias="multi-gpus")  # one process for each GPU of the host
    precision: Literal["32-true", "bf16-mixed"] = "32-true"  # bf16-mixed: bfloat16 autocast in the networks
    channels_last: bool = False  # NHWC memory layout
    compile: bool = False  # torch.compile
    cuda_graph: bool = False  # one process on one GPU: replay each step as a CUDA graph (training.step_graph)
    grad_clip: Annotated[float, Field(gt=0)] | None = None  # largest L2 norm of the whole gradient
    ema_decay: ShareBelowOne | None = None  # decay per step of the averaged weights, which model_best then contains

    @property
    def run_dir(self) -> Path:
        """SAVE_DIR/NAME."""
        return Path(self.save_dir) / self.name

    def dump(self) -> dict[str, Any]:
        """The config as a JSON-compatible dict; parse_config returns an equal config."""
        return self.model_dump(by_alias=True, mode="json")


_ALLOWED = {
    "model_type": "a JSON object",
    "dict_type": "a JSON object",
    "string_pattern_mismatch": "a folder name, without slashes",
    "bool_type": "true or false",
}
_PYTHON_WORDS = {"True": "true or false", "False": "true or false", "None": "null"}


def load_config(kind: type[Config], path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Resolve defaults < JSON file < overrides (`key.subkey=value`, value in JSON or a bare word).

    kind  class of the config, with its defaults
    Raises UserError, one line with the key, the value found and the values allowed.
    """
    from_file = _read_json(path) if path is not None else {}
    values, where = deepcopy(from_file), str(path) if path is not None else "config"
    overrides = list(overrides)
    for override in overrides:
        _apply(values, override)
    errors = _errors(kind, values)
    in_file = [(error["loc"], error["input"]) for error in _errors(kind, from_file)]
    if errors and (errors[0]["loc"], errors[0]["input"]) not in in_file:
        where = next((f"--set {override}" for override in reversed(overrides) if _sets(override, errors[0])), where)
    return parse_config(kind, values, where)


def parse_config(kind: type[Config], values: dict[str, Any], where: str = "config") -> Config:
    """Validate a plain dict. Raises UserError; its message begins with `where`."""
    if errors := _errors(kind, values):
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(f"{where}: {_explain(kind, errors[0])}{more}")
    return kind.model_validate(values)


def _errors(kind: type[BaseModel], values: dict[str, Any]) -> list[Any]:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return error.errors()
    return []


def _sets(override: str, error: Any) -> bool:
    """Whether an override sets the key of an error, a section that contains it or a key in it."""
    pairs = zip(override.partition("=")[0].split("."), map(str, error["loc"]), strict=False)
    return all(ours == theirs for ours, theirs in pairs)


def flatten_config(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten_config(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except OSError as error:
        raise UserError(f"{path}: cannot read the config: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a JSON file: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not a JSON file: line {error.lineno}: {error.msg}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found {_show(values)}, allowed: a JSON object with the config's keys")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"--set {override}: allowed: key=value, for example --set optimizer.lr=0.001")
    if text in _PYTHON_WORDS:
        raise UserError(f"--set {override}: found {text}, allowed: {_PYTHON_WORDS[text]}, as in JSON")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = values.get(parent)
        if not isinstance(inner, dict):
            inner = values[parent] = {}
        values = inner
    values[last] = value


def _explain(model: type[TrainConfig], item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        elsewhere = [path for path in _all_keys(model) if path.rpartition(".")[2] == item["loc"][-1]]
        hint = f"; did you mean {elsewhere[0]}?" if elsewhere else did_you_mean(str(item["loc"][-1]), known)
        return f"{key}: unknown key, known: {', '.join(known)}{hint}"
    allowed = _ALLOWED.get(item["type"]) or item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key}: found {_show(item['input'])}, allowed: {allowed}"


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        model = model.model_fields[part].annotation  # sections have no alias and are never optional
    return [field.alias or name for name, field in model.model_fields.items()]


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a config and its sections, dotted."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _all_keys(field.annotation, f"{path}.")


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
