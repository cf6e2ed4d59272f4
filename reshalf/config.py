"""Configs of ResHalf's three trainings. Key names are those of the released system, so its files run unmodified."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from training.config import DataConfig, FolderName, Positive, TrainConfig, Weight

RestoreLoss = Literal["l2_loss", "l1_loss", "charbonnier", "psnr"]  # model.loss.RESTORE_LOSSES


class InvHalfConfig(TrainConfig):
    """Stage 0: InverseHalf, halftone to gray."""

    name: FolderName = "inversehalf"
    model: Literal["InverseHalf"] = "InverseHalf"
    data_loader: DataConfig = DataConfig(special_set=None)
    restoreLoss: RestoreLoss = "l2_loss"
    restoreLossWeight: Weight = 1.0


class ResHalfConfig(TrainConfig):
    """What the warm-up and the joint training share."""

    not_from_initial: ClassVar[tuple[str, ...]] = ("proxy",)  # proxy_ckpt brings it
    model: Literal["ResHalf"] = "ResHalf"
    levels: Annotated[int, Field(ge=1, le=3)] = 3  # of both hourglasses
    decoder: Literal["hourglass", "subpixel"] = "hourglass"
    blocks: Positive = 2  # residual blocks of a subpixel decoder
    proxy_ckpt: str | None = None  # whose proxy, or subpixel decoder, guides the prior's search
    prior: dict[str, Any] | None = None  # the dither prior's own keys; checked by the network
    freeze: Literal["none", "encoder", "decoder"] = "none"
    quantizedTone: bool = False  # tone and blue noise look at the quantized halftone
    quantizeLoss: Literal["binL1"] = "binL1"
    quantizeLossWeight: Weight = 0.1
    toneLoss: Literal["gaussianL2"] = "gaussianL2"
    toneLossWeight: Weight = 0.6
    structureLoss: Literal["ssimLoss"] = "ssimLoss"
    structureLossWeight: Weight = 0.0
    blueNoiseLossWeight: Weight = 0.3

    @field_validator("prior")
    @classmethod
    def _plain_values(cls, prior: dict[str, Any] | None) -> dict[str, Any] | None:
        for key, value in (prior or {}).items():
            if not isinstance(value, str | bool | int | float | None):
                raise ValueError(f"a number, string or true/false for each of its keys ({key} is none)")
        return prior


class WarmConfig(ResHalfConfig):
    """Stage 1: the encoder against error-diffused targets."""

    name: FolderName = "invhalf_warmup"
    freeze: Literal["none", "encoder", "decoder"] = "decoder"
    quantizeLossWeight: Weight = 0.2
    featureLossWeight: Weight = 1.0
    guidance: Literal["reference", "gray"] = "reference"  # released code: gray
    extractor_ckpt: str = "checkpoints/inversehalf.pth.tar"


class JointConfig(ResHalfConfig):
    """Stage 2: tone, blue noise and restoration together."""

    name: FolderName = "invhalf_full"
    restoreLoss: RestoreLoss = "l2_loss"
    restoreLossWeight: Weight = 1.0
    vggLossWeight: Weight = 2e-4
    vgg_weights: str | None = None  # local file; null: torchvision's own loader
    bitFlip: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of halftone pixels flipped in training
