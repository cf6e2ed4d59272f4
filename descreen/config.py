"""The config of a descreening training, one class for its three stages, which are told by the network they train."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config import (
    CropSize,
    DataConfig,
    FolderName,
    Positive,
    ScheduleConfig,
    ScheduleName,
    ShareBelowOne,
    Strict,
    TrainConfig,
    TrainerConfig,
    Weight,
)

Share = Annotated[float, Field(ge=0, le=1)]


class ScreensConfig(Strict):
    """How the scans to train on are printed and scanned; see descreen/printing.py. Lengths in pixels of the scan."""

    am: Weight = 0.6  # AM dots, line screens and FM are drawn in proportion to these three
    line: Weight = 0.1
    fm: Weight = 0.3
    gray: Share = 0.3  # printed in black only, from the photograph's luma, which is then the truth
    clean: Share = 0.2  # the screen as it was computed: no paper, no press, no scanner
    fm_gray: Share = 0.3  # these two for FM, the others for AM and lines
    fm_clean: Share = 0.2
    pitch_min: Annotated[float, Field(ge=2)] = 2.0
    pitch_max: Annotated[float, Field(le=32)] = 8.0
    any_angle: Share = 0.25  # scanned at any angle, the others within 3 degrees
    flawed: Share = 1.0  # of the prints have gain, ink noise, misregistration, tint, resampling; the others none
    dot_gain: Share = 0.04  # at most so much more, or less, ink at 50 %
    ink_noise: Share = 0.05  # largest deviation of the share of ink
    misregistration: Annotated[float, Field(ge=0, le=4)] = 0.5
    blur: Weight = 1.0  # largest deviation of the Gaussian
    tint: Share = 0.05  # the paper lacks at most so much of blue; less of green and red
    grain: Weight = 3.0  # largest deviation of the scan's noise, 8-bit levels
    resample: Annotated[float, Field(ge=0, lt=0.5)] = 0.25  # scanned so much finer or coarser at most, then resized
    jpeg: Annotated[int, Field(ge=10, le=100)] = 60  # lowest quality; half of the scans are no JPEG
    missed: Share = 0.15  # of the prints whose screens are not told to a network that sees waves, and of inks beside it
    rotate: Annotated[float, Field(ge=0, le=180)] = 30.0  # degrees the photograph is turned at most, before the screen

    @model_validator(mode="after")
    def _possible(self) -> "ScreensConfig":
        if self.pitch_min > self.pitch_max:
            raise ValueError("pitch_min up to pitch_max")
        if not self.am + self.line + self.fm:
            raise ValueError("am, line or fm above 0")
        return self


class CoarseNetConfig(Strict):
    kind: Literal["unet", "residual"] = "unet"  # as published, or descreen/residual.py
    deepest: Annotated[int, Field(ge=4)] | None = None
    blur: Annotated[float, Field(ge=0, le=8)] = 0.0
    waves: bool = False  # it also sees where in its cell each pixel lies, ink by ink (descreen/waves.py)


class CoarseLossConfig(Strict):
    l1: Weight = 50.0
    psnr: Weight = 0.0  # of the logarithm of each picture's mean squared error, whose mean is the mean PSNR
    gram: Weight = 0.5  # of each convolution of VGG16-bn


class DetailsLossConfig(Strict):
    l1: Weight = 100.0
    edge: Weight = 0.1
    gram: Weight = 0.5  # over patches, of each convolution of VGG19-bn
    adversarial: Weight = 1.0  # 0: no discriminators


class ScansConfig(DataConfig):
    special_set: str | None = None
    crop_size: CropSize | None = 224
    flip: bool = True


class PublishedTrainerConfig(TrainerConfig):
    epochs: Positive = 20


class PublishedScheduleConfig(ScheduleConfig):
    name: ScheduleName = "exponential"
    factor: ShareBelowOne = 0.9


class DescreenConfig(TrainConfig):
    """The defaults are the paper's recipe.

    Stage "CoarseNet", then "EdgeNet" (needs coarse_ckpt), then "DetailsNet" (needs edge_ckpt, which holds both).
    """

    name: FolderName = "descreen_coarse"
    model: Literal["CoarseNet", "EdgeNet", "DetailsNet"] = "CoarseNet"
    data_loader: ScansConfig = ScansConfig()
    trainer: PublishedTrainerConfig = PublishedTrainerConfig()
    lr_sheduler: PublishedScheduleConfig = PublishedScheduleConfig()
    coarse_net: CoarseNetConfig = CoarseNetConfig()  # of CoarseNet's own stage; the later ones take it as it is
    coarse_ckpt: str | None = None
    edge_ckpt: str | None = None
    objects: Literal["none", "small", "parser"] = "none"
    object_weights: str | None = None  # folder of the parser's encoder*.pth and decoder*.pth
    screens: ScreensConfig = ScreensConfig()
    coarse: CoarseLossConfig = CoarseLossConfig()
    details: DetailsLossConfig = DetailsLossConfig()
    vgg_weights: str | None = None  # torchvision's vgg16_bn (CoarseNet) or vgg19_bn (DetailsNet); null: its own loader
