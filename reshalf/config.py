"""Configs of ResHalf's three trainings. The keys are those of the released system, so its files run unmodified."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from training.config import DataConfig, FolderName, Positive, Strict, TrainConfig, Weight

InitialWeights = Literal["torch", "variance"]  # torch's default, or model.hourglass.keep_variance
RestoreLoss = Literal["l2_loss", "l1_loss", "charbonnier", "psnr"]  # model.loss.RESTORE_LOSSES


class InvHalfConfig(TrainConfig):
    """Stage 0: InverseHalf, error-diffused halftone → gray."""

    name: FolderName = "inversehalf"
    model: Literal["InverseHalf"] = "InverseHalf"
    data_loader: DataConfig = DataConfig(special_set=None)
    initialWeights: InitialWeights = "torch"
    restoreLoss: RestoreLoss = "l2_loss"
    restoreLossWeight: Weight = 1.0


class ResHalfConfig(TrainConfig):
    """Settings of both the warm-up and the joint training. Weights are those of the terms in the total loss."""

    excluded_from_initial: ClassVar[tuple[str, ...]] = ("proxy",)  # set by proxy_ckpt
    model: Literal["ResHalf"] = "ResHalf"
    levels: Annotated[int, Field(ge=1, le=3)] = 3  # downsampling levels of both hourglasses; 3 in the paper
    decoder: Literal["hourglass", "subpixel"] = "hourglass"
    blocks: Positive = 2  # residual blocks of the subpixel decoder
    noise: Literal["white", "blue"] = "white"  # noise channel of a network without a prior; white in the paper
    initialWeights: InitialWeights = "torch"  # with a prior always "variance"
    proxy_ckpt: str | None = None  # its proxy, or subpixel decoder, becomes the proxy of a guided prior
    prior: dict[str, Any] | None = None  # settings of the dither prior (model.prior), checked there; null: none
    # A checkpoint whose decoder guides the halftones of `guide_share` of the training photographs, as `best` of
    # reshalf.codec does; null: the proxy guides all.
    guide_ckpt: str | None = None
    guide_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    freeze: Literal["none", "encoder", "decoder"] = "none"  # the half that is not trained
    quantizedTone: bool = False  # tone and blue-noise terms of the quantized halftone, not of the encoder's output
    driftGuard: bool = False  # no gradient that moves the encoder's output further out of [-1, 1] (model.quantizer)
    quantizeLoss: Literal["binL1"] = "binL1"
    quantizeLossWeight: Weight = 0.1
    toneLoss: Literal["gaussianL2"] = "gaussianL2"
    toneLossWeight: Weight = 0.6
    structureLoss: Literal["ssimLoss"] = "ssimLoss"
    structureLossWeight: Weight = 0.0
    blueNoiseLossWeight: Weight = 0.3  # also of the tone term of the constant colours

    @field_validator("prior")
    @classmethod
    def _plain_values(cls, prior: dict[str, Any] | None) -> dict[str, Any] | None:
        for key, value in (prior or {}).items():
            if not isinstance(value, str | bool | int | float | None):
                raise ValueError(f"a number, string or true/false for each of its keys ({key} is none)")
        return prior


class StartConfig(Strict):
    """First steps of the warm-up: mean squared error against a random dither that the encoder can compute."""

    steps: Annotated[int, Field(ge=0)] = 0  # in which only this term is minimised; 0 in the paper
    # A dither with the noise channel as its threshold, or one that also carries colour in the orientation of its dots.
    target: Literal["random", "orientation"] = "random"
    weight: Weight = 0.0  # of the term in the later steps


class WarmConfig(ResHalfConfig):
    """Stage 1: the encoder learns to halftone; the targets are error-diffused."""

    name: FolderName = "invhalf_warmup"
    freeze: Literal["none", "encoder", "decoder"] = "decoder"
    quantizeLossWeight: Weight = 0.2
    start: StartConfig = StartConfig()
    featureLossWeight: Weight = 1.0  # of the difference of the extractor's outputs
    # Target of the feature term: the extractor's output for the reference (paper), or the gray image (released code).
    guidance: Literal["reference", "gray"] = "reference"
    extractor_ckpt: str = "checkpoints/inversehalf.pth.tar"  # InverseHalf of stage 0


class JointConfig(ResHalfConfig):
    """Stage 2: joint training for tone, blue noise and restoration."""

    name: FolderName = "invhalf_full"
    restoreLoss: RestoreLoss = "l2_loss"
    restoreLossWeight: Weight = 1.0
    chromaLossWeight: Weight = 0.0  # of the mean squared error of two opponent colours (model.loss.opponents)
    vggLossWeight: Weight = 2e-4  # of the perceptual term
    vgg_weights: str | None = None  # file of VGG19's weights; null: torchvision downloads them
    # "orientation": the decoder alone is trained, on random dithers that carry colour as the start's target does, or
    # more strongly; needs freeze "encoder".
    decoderInput: Literal["halftone", "orientation"] = "halftone"
    bitFlip: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of halftone pixels inverted before decoding
