"""Config of descreening training: one class for the three stages, selected by `model`."""

from typing import Annotated, ClassVar, Literal

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
    """Ranges of the random printing and scanning (descreen/printing.py). Lengths in pixels of the scan."""

    am: Weight = 0.6  # relative frequencies of AM dot screens, AM line screens and FM halftones
    line: Weight = 0.1
    fm: Weight = 0.3
    gray: Share = 0.3  # share printed in black ink only; the ground truth is then the luma
    clean: Share = 0.2  # share of ideal screens, without press and scanner degradations
    fm_gray: Share = 0.3  # `gray` and `clean` for FM
    fm_clean: Share = 0.2
    pitch_min: Annotated[float, Field(ge=1.5)] = 2.0
    pitch_max: Annotated[float, Field(le=32)] = 8.0
    any_angle: Share = 0.25  # share scanned at a uniform random angle; the others within ±3 degrees
    flawed: Share = 1.0  # share with dot gain, ink noise, misregistration, paper tint and resampling
    newsprint: Share = 0.0  # share from presses with the limits of NEWSPRINT (descreen/printing.py)
    dot_gain: Share = 0.04  # maximal change of the ink coverage at 50 %, either sign
    ink_noise: Share = 0.05  # maximal standard deviation of the relative ink coverage
    misregistration: Annotated[float, Field(ge=0, le=4)] = 0.5  # maximal offset of an ink
    blur: Weight = 1.0  # maximal σ of the scanner's Gaussian blur
    tint: Share = 0.05  # maximal absorption of the paper in blue; green and red absorb less
    grain: Weight = 3.0  # maximal standard deviation of the scanner noise, 8-bit levels
    resample: Annotated[float, Field(ge=0, lt=0.5)] = 0.25  # maximal relative difference of the scanner resolution
    process_inks: Share = 0.0  # share with the inks of offset printing, averaged by the scanner in linear light
    sharpened: Share = 0.0  # share sharpened by the scanner's software (UNSHARP_RADIUS in descreen/printing.py)
    bilevel: Share = 0.0  # share of the other scans of black ink that have one bit per pixel
    jpeg: Annotated[int, Field(ge=10, le=100)] = 60  # lowest JPEG quality; half of the scans are not compressed
    missed: Share = 0.15  # dropout of the phase maps: of all inks of a print, and independently of each ink
    rotate: Annotated[float, Field(ge=0, le=180)] = 30.0  # maximal rotation of the photograph before printing, degrees

    @model_validator(mode="after")
    def _check_ranges(self) -> "ScreensConfig":
        if self.pitch_min > self.pitch_max:
            raise ValueError("pitch_min up to pitch_max")
        if not self.am + self.line + self.fm:
            raise ValueError("am, line or fm above 0")
        return self


Blocks = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]


class CoarseNetConfig(Strict):
    kind: Literal["unet", "residual"] = "unet"  # published U-Net, or descreen/residual.py
    deepest: Annotated[int, Field(ge=4)] | None = None  # maximal channels of a layer
    blur: Annotated[float, Field(ge=0, le=8)] = 0.0  # σ of the blur that the network corrects, pixels; 0: none
    waves: bool = False  # per-ink screen-phase maps as additional input (descreen/waves.py)
    inks: bool = False  # "residual": the kind of inks as additional input (descreen/inks.py)
    # "residual": residual blocks at 1/2, 1/4 and 1/8 of the resolution, before and after the lower levels
    down_blocks: Blocks = [2, 2, 2]
    up_blocks: Blocks = [2, 1, 0]


class CoarseLossConfig(Strict):
    l1: Weight = 50.0
    psnr: Weight = 0.0  # logarithm of the mean squared error of each image
    gram: Weight = 0.5  # Gram matrices of all convolutions of VGG16-bn


class DetailsLossConfig(Strict):
    l1: Weight = 100.0
    edge: Weight = 0.1
    gram: Weight = 0.5  # of patches, all convolutions of VGG19-bn
    adversarial: Weight = 1.0  # 0: no discriminators


class ScansConfig(DataConfig):
    """Here `num_workers` above 1 are processes that make the scans (descreen.stream)."""

    special_set: str | None = None
    crop_size: CropSize | None = 224
    flip: bool = True


class PublishedTrainerConfig(TrainerConfig):
    epochs: Positive = 20


class PublishedScheduleConfig(ScheduleConfig):
    name: ScheduleName = "exponential"
    factor: ShareBelowOne = 0.9


class DescreenConfig(TrainConfig):
    """Defaults: the recipe of Kim & Park (SIGGRAPH 2018).

    Stages: "CoarseNet", "EdgeNet" (requires coarse_ckpt), "DetailsNet" (requires edge_ckpt, which contains both).
    """

    excluded_from_initial: ClassVar[tuple[str, ...]] = ("tone",)  # depends on the trained parts

    name: FolderName = "descreen_coarse"
    model: Literal["CoarseNet", "EdgeNet", "DetailsNet"] = "CoarseNet"
    data_loader: ScansConfig = ScansConfig()
    trainer: PublishedTrainerConfig = PublishedTrainerConfig()
    lr_sheduler: PublishedScheduleConfig = PublishedScheduleConfig()
    coarse_net: CoarseNetConfig = CoarseNetConfig()  # first stage only; later stages read it from the checkpoint
    coarse_ckpt: str | None = None
    edge_ckpt: str | None = None
    objects: Literal["none", "small", "parser"] = "none"
    object_weights: str | None = None  # folder with encoder*.pth and decoder*.pth of the parser
    screens: ScreensConfig = ScreensConfig()
    coarse: CoarseLossConfig = CoarseLossConfig()
    details: DetailsLossConfig = DetailsLossConfig()
    vgg_weights: str | None = None  # vgg16_bn (CoarseNet) or vgg19_bn (DetailsNet); null: torchvision's download
