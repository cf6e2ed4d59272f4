"""Simulated printing and scanning of photographs.

`draw_printing` samples all parameters; `print_and_scan` is a pure function of the photograph and these parameters. The
screen is rendered on the final crop, so that augmentation does not resample it.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from descreen.config import ScreensConfig
from halftone.inks import combine, separate
from halftone.light import linear_light
from halftone.methods import METHODS
from halftone.screens import am_screen

# Conventional screen angles of cyan, magenta, yellow, black in degrees; the last but one is that of Kim & Park 2018.
ANGLE_SETS = (
    (15.0, 75.0, 0.0, 45.0),
    (75.0, 15.0, 0.0, 45.0),
    (105.0, 75.0, 90.0, 45.0),
    (15.0, 45.0, 0.0, 75.0),
    (30.0, 15.0, 0.0, 46.0),
    (45.0, 45.0, 45.0, 45.0),
)
DOTS = ("round", "ellipse", "square", "diamond")
FM_METHODS = ("floyd_steinberg", "jarvis_judice_ninke", "stucki", "ostromoukhov", "zhou_fang", "blue_noise")
SUPERSAMPLE = 3
MIN_RENDER_PITCH, FINE_RENDER = 2.0, 2
NEWSPRINT = {"dot_gain": 0.08, "ink_noise": 0.1, "tint": 0.2}
"""Limits of `ScreensConfig` on absorbent gray paper."""
UNSHARP_RADIUS, UNSHARP_AMOUNT = (0.5, 2.0), (0.3, 2.0)
"""Ranges of the unsharp masks of sharpened scans: σ in pixels, and the share of the difference that is added."""
SOLIDS = ((227, 159, 0), (126, 0, 230), (0, 237, 255), (27, 29, 29))
"""sRGB levels of solid cyan, magenta, yellow and black on coated paper (offset, FOGRA39): blue, green, red."""
INK_DENSITY = (0.65, 1.15)
"""Range of the optical density of each of these inks, relative to SOLIDS."""
THRESHOLD = (80.0, 176.0)
"""Range of the levels above which a bilevel scan is white."""

LIGHT = linear_light(np.arange(256, dtype=np.uint8)[None])[0] / 255
"""Linear light in 0..1 of each sRGB level."""

Four = tuple[float, float, float, float]
Three = tuple[float, float, float]
Offsets = tuple[tuple[float, float], ...]
Unsharp = tuple[float, float]
"""Radius, σ in pixels, and amount of an unsharp mask."""


@dataclass(frozen=True)
class Printing:
    """Parameters of one print and scan. Quadruples are cyan, magenta, yellow, black; lengths are pixels of the scan."""

    method: str  # dot shape or "line" of halftone.screens.SPOTS, or an FM method of halftone.METHODS
    pitch: float
    angles: Four  # degrees counter-clockwise
    offsets: Offsets  # of the screens
    gray: bool  # black ink only
    clean: bool  # ideal screen: only `under_colour_removal` of the following applies
    under_colour_removal: float  # share of gray printed in black
    dot_gain: float  # change of the ink coverage at 50 %
    misregistration: Offsets  # of the ink plates
    ink_noise: float  # standard deviation of the relative ink coverage
    solids: tuple[Three, Three, Three, Three] | None
    """Transmittances of the inks in blue, green and red, linear light: dots and paper are averaged as light is. None:
    inks that absorb one channel or, black, all of them completely; sRGB levels are averaged."""
    paper: Three  # reflectance in blue, green, red, 0..1, relative to white in the units of the average
    grain: float  # standard deviation of the scanner noise, levels
    blur: float  # σ of the scanner's Gaussian blur
    scale: float  # scanner resolution relative to the output
    unsharp: Unsharp | None  # of the scanner's software; None: not sharpened
    threshold: float | None  # level above which a bilevel scan is white; None: not bilevel
    jpeg: int | None  # quality; None: not compressed
    seed: int  # of ink and scanner noise

    @property
    def is_fm(self) -> bool:
        return self.method in FM_METHODS

    @property
    def render_scale(self) -> float:
        """Resolution at which the screen is rendered, relative to the output.

        Screens below MIN_RENDER_PITCH are rendered FINE_RENDER times that fine and sampled as by a scanner.
        """
        if self.clean or self.pitch * self.scale >= MIN_RENDER_PITCH:
            return 1.0 if self.clean else self.scale
        return FINE_RENDER * MIN_RENDER_PITCH / self.pitch

    @property
    def render_pitch(self) -> float:
        """Pitch in pixels at the render resolution."""
        return max(MIN_RENDER_PITCH, self.pitch * self.render_scale)  # clean screens are not rendered finer

    def render_side(self, side: int) -> int:
        """Pixels of an image side at the render resolution."""
        return max(1, round(side * self.render_scale))


def draw_printing(config: ScreensConfig, random: np.random.Generator) -> Printing:
    """Sample a printing within the limits of `config`."""
    if config.newsprint and random.random() < config.newsprint:
        config = config.model_copy(update=NEWSPRINT | {"flawed": 1.0})
    printing = _with_flaws(config, random)
    if config.flawed < 1 and random.random() >= config.flawed:
        aligned, white = ((0.0, 0.0),) * 4, (1.0, 1.0, 1.0)
        printing = replace(printing, dot_gain=0.0, misregistration=aligned, ink_noise=0.0, paper=white, scale=1.0)
    if config.sharpened and random.random() < config.sharpened:
        unsharp = float(random.uniform(*UNSHARP_RADIUS)), float(random.uniform(*UNSHARP_AMOUNT))
        printing = replace(printing, unsharp=unsharp)
    if config.process_inks and not printing.clean and random.random() < config.process_inks:
        return replace(printing, solids=_draw_solids(random))
    if config.bilevel and printing.gray and random.random() < config.bilevel:
        return replace(printing, threshold=float(random.uniform(*THRESHOLD)), jpeg=None)
    return printing


def _draw_solids(random: np.random.Generator) -> tuple[Three, Three, Three, Three]:
    light = np.maximum(LIGHT[np.array(SOLIDS)], 0.002)
    density = random.uniform(*INK_DENSITY, (len(SOLIDS), 1))
    return tuple(map(tuple, (light**density).tolist()))


def _with_flaws(config: ScreensConfig, random: np.random.Generator) -> Printing:
    weights = np.array([config.am, config.line, config.fm])
    kind = random.choice(3, p=weights / weights.sum())
    method = (str(random.choice(DOTS)), "line", str(random.choice(FM_METHODS)))[kind]
    gray, clean = (config.fm_gray, config.fm_clean) if kind == 2 else (config.gray, config.clean)
    turn = random.uniform(0, 90) if random.random() < config.any_angle else random.uniform(-3, 3)
    angles = np.array(ANGLE_SETS[random.integers(len(ANGLE_SETS))]) + turn
    pitch = float(np.exp(random.uniform(np.log(config.pitch_min), np.log(config.pitch_max))))
    shift = config.misregistration
    absorption = random.uniform(0, config.tint)
    return Printing(
        method=method,
        pitch=pitch,
        angles=tuple(angles.tolist()),
        offsets=tuple(map(tuple, random.uniform(0, pitch, (4, 2)).tolist())),
        gray=bool(random.random() < gray),
        clean=bool(random.random() < clean),
        under_colour_removal=float(random.uniform(0.3, 1)),
        dot_gain=float(random.uniform(-config.dot_gain, config.dot_gain)),
        misregistration=tuple(map(tuple, random.uniform(-shift, shift, (4, 2)).tolist())),
        ink_noise=float(random.uniform(0, config.ink_noise)),
        solids=None,
        paper=(1 - absorption, 1 - 0.5 * absorption, 1 - 0.3 * absorption),
        grain=float(random.uniform(0, config.grain)),
        blur=float(random.uniform(0, config.blur)),
        scale=float(random.uniform(1 - config.resample, 1 + config.resample)) if random.random() < 0.5 else 1.0,
        unsharp=None,
        threshold=None,
        jpeg=int(random.integers(config.jpeg, 101)) if random.random() < 0.5 else None,
        seed=int(random.integers(2**32)),
    )


def print_and_scan(bgr: np.ndarray, printing: Printing) -> np.ndarray:
    """Photograph (H, W, 3) BGR uint8 → scan of its print, same shape and dtype."""
    height, width = bgr.shape[:2]
    scale = printing.render_scale
    if scale != 1:
        size = printing.render_side(width), printing.render_side(height)
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    inks = _inks(bgr, printing)
    if printing.clean:
        return combine(inks)
    random = np.random.default_rng(printing.seed)
    noise = random.standard_normal(inks.shape[:2], np.float32) * printing.ink_noise
    inks = np.clip(inks * (1 + noise[..., None]), 0, 255).astype(np.uint8)
    page = _overprinted(inks, printing) * np.array(printing.paper, np.float32)
    if printing.blur:
        page = cv2.GaussianBlur(page, (0, 0), max(printing.blur * scale, 0.01), borderType=cv2.BORDER_REFLECT_101)
    if scale != 1:
        page = cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    if printing.solids is not None:
        page = _to_levels(page)
    return digitize(
        page,
        random,
        grain=printing.grain,
        unsharp=printing.unsharp,
        threshold=printing.threshold,
        jpeg=printing.jpeg,
    )


def digitize(
    page: np.ndarray,
    random: np.random.Generator,
    *,
    grain: float,
    unsharp: Unsharp | None = None,
    threshold: float | None = None,
    jpeg: int | None = None,
) -> np.ndarray:
    """The scanner's file of what its lens sees, (H, W, 3) float32 levels, changed in place: uint8, same shape.

    The other arguments are those of `Printing`.
    """
    page += random.standard_normal(page.shape, np.float32) * np.float32(grain)
    if unsharp is not None:
        radius, amount = unsharp
        page += amount * (page - cv2.GaussianBlur(page, (0, 0), radius, borderType=cv2.BORDER_REFLECT_101))
    if threshold is not None:
        page[...] = 255 * (page.mean(axis=2, keepdims=True) > threshold)
    scan = np.clip(np.rint(page), 0, 255).astype(np.uint8)
    if jpeg is not None:
        scan = cv2.imdecode(cv2.imencode(".jpg", scan, [cv2.IMWRITE_JPEG_QUALITY, jpeg])[1], cv2.IMREAD_COLOR)
    return scan


def ground_truth(bgr: np.ndarray, printing: Printing) -> np.ndarray:
    """Target of the restoration, (H, W, 3) BGR uint8: the photograph, or for gray prints its luma in all channels.

    With real inks it is the colour of the print: the inks overprinted at their coverage before screening.
    """
    if printing.solids is not None:
        levels = _to_levels(_overprinted(_separated(bgr, printing), printing))
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return _as_printed(bgr, printing)


def _as_printed(bgr: np.ndarray, printing: Printing) -> np.ndarray:
    """The photograph, or for gray prints its luma in all channels."""
    if not printing.gray:
        return bgr
    return cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _separated(bgr: np.ndarray, printing: Printing) -> np.ndarray:
    """Ink coverages uint8 (H, W, 4) before screening; 255 is full ink."""
    bgr = _as_printed(bgr, printing)
    if printing.solids is not None:
        bgr = np.rint(255 * LIGHT).astype(np.uint8)[bgr]
    return separate(bgr, 1.0 if printing.gray else printing.under_colour_removal)


def _overprinted(inks: np.ndarray, printing: Printing) -> np.ndarray:
    """Light of the inks on white paper, (H, W, 3) float32: sRGB levels or, with real inks, linear light in 0..1."""
    if printing.solids is None:
        return combine(inks).astype(np.float32)
    page = np.ones((*inks.shape[:2], 3), np.float32)
    for coverage, solid in zip(np.moveaxis(inks, 2, 0), printing.solids, strict=True):
        if coverage.any():
            page *= 1 - (coverage / np.float32(255))[..., None] * (1 - np.array(solid, np.float32))
    return page


def _to_levels(light: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 → sRGB levels, float32."""
    light = np.maximum(light, 0)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055)


def _inks(bgr: np.ndarray, printing: Printing) -> np.ndarray:
    """Halftoned ink coverages uint8 (H, W, 4) at the render resolution; 255 is full ink."""
    inks = _separated(bgr, printing)
    # Dot gain curve a + 4 g a (1 - a): paper and solid ink are unchanged.
    coverage = np.arange(256) / 255
    gain, scale = 4 * printing.dot_gain, printing.render_scale
    curve = np.rint(255 * np.clip(coverage + gain * coverage * (1 - coverage), 0, 1)).astype(np.uint8)
    for number in range(4):
        plate = inks[..., number]
        if not plate.any():
            continue
        if not printing.clean:
            plate = curve[_shifted(plate, printing.misregistration[number], scale)]
        gray = np.ascontiguousarray(255 - plate)
        if printing.is_fm:
            # A scan direction per ink decorrelates the dots of different inks.
            across, down = (-1 if number & 1 else 1), (-1 if number & 2 else 1)
            halftone = METHODS[printing.method](np.ascontiguousarray(gray[::down, ::across]))
            inks[..., number] = 255 - halftone[::down, ::across]
            continue
        x, y = printing.offsets[number]
        inks[..., number] = 255 - am_screen(
            gray,
            spot=printing.method,
            pitch=printing.render_pitch,
            angle=printing.angles[number],
            supersample=1 if printing.clean else SUPERSAMPLE,
            offset=(x * scale, y * scale),
        )
    return inks


def _shifted(plate: np.ndarray, offset: tuple[float, float], scale: float) -> np.ndarray:
    move = np.array([[1, 0, offset[0] * scale], [0, 1, offset[1] * scale]])
    return cv2.warpAffine(plate, move, plate.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
