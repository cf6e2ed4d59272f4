"""Simulation of a sheet on paper: printing in black toner, scanning on a flatbed, photographing with a phone.

Lengths are in millimetres unless named otherwise. Where a source gives a range, the default lies in its middle or
towards its unfavourable end. Sources:
- toner: an exposure by a Gaussian laser spot, a threshold of development, Poisson noise of the exposure: Kriss, "Laser
  printers simulated by computer model", SPIE Newsroom 2007. Dots print larger than their area, with overlap: Pappas
  and Neuhoff, "Printer models and error diffusion", IEEE Trans. Image Processing 4(1), 1995.
- optical dot gain: reflectance T · (P ∗ (R T)), with the lateral spread P in paper (Yule and Nielsen, TAGA 1951).
  Arney's transfer function 1 / (1 + (k / kp)²); at kp it is one half, and 1 / kp is 0.15 to 0.35 mm for most papers
  (Coppel, Neuman and Edström, "Lateral light scattering in paper", Optics Express 19(25), 2011).
- blur, skew, jitter, specks: the parameters of Baird, "Document image defect models", SSPR 1990.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.fft
import scipy.special

OVERSAMPLING = 3
"""Samples per printer dot along each axis."""
MILLIMETRES = 25.4
GAMMA = 2.2


@dataclass(frozen=True)
class Printer:
    """A black laser printer and its paper.

    spot          standard deviation of the exposure
    growth        distance by which straight edges move outwards
    exposure_noise  standard deviation of full exposure, otherwise times its square root (Poisson); 0.25 moves edges by
                  9 µm: they are ragged
    grain         correlation length of that noise
    voids, specks per square millimetre: toner dropouts of radius 0.02 to 0.05 mm in black, and toner on white
    paper         reflectance in blue, green, red
    texture       relative standard deviation of the paper's reflectance, with details of 0.1 to 0.4 mm
    toner         reflectance of solid black relative to the paper
    scatter       1 / kp of the paper
    scale         of the page, as by "fit to page": cells are no longer whole dots, and are rounded to these
    """

    spot: float = 0.022
    growth: float = 0.02
    exposure_noise: float = 0.25
    grain: float = 0.012
    voids: float = 0.15
    specks: float = 0.1
    paper: tuple[float, float, float] = (0.80, 0.85, 0.87)
    texture: float = 0.015
    toner: float = 0.06
    scatter: float = 0.25
    scale: float = 1.0


@dataclass(frozen=True)
class Capture:
    """A flatbed scanner, or a camera.

    resolution   pixels per inch on the paper; for a camera at the centre
    rotation     degrees clockwise
    skew         degrees between the axes beyond 90
    stretch      relative errors of scale along x and y
    wander       amplitude of a smooth displacement that varies over the page: paper that stretches or is not flat, and
                 the scanner's drive
    blur         standard deviation of the optics
    defocus      standard deviation of a further blur in pixels, as of demosaicing
    perspective  tilt of the camera in degrees
    distortion   radial displacement at the image's corner, relative to its distance from the centre
    shading      relative loss of light from the brightest to the darkest edge
    vignetting   relative loss of light in the corners
    noise        standard deviation in levels of 255
    sharpening   amount of unsharp masking, as cameras apply
    jpeg         quality; None: not compressed
    """

    resolution: float = 600
    rotation: float = 0.7
    skew: float = 0.1
    stretch: tuple[float, float] = (0.002, -0.003)
    wander: float = 0.15
    blur: float = 0.035
    defocus: float = 0.0
    perspective: float = 0.0
    distortion: float = 0.0
    shading: float = 0.05
    vignetting: float = 0.0
    noise: float = 2.5
    sharpening: float = 0.0
    jpeg: int | None = 85


PHONE = Capture(
    resolution=340,  # 12 megapixels over a page of A4 with a narrow border: 4000 pixels for 297 mm
    rotation=2.0,
    skew=0.0,
    stretch=(0.0, 0.0),
    wander=0.3,
    blur=0.02,
    defocus=0.9,
    perspective=6.0,
    distortion=0.004,
    shading=0.25,
    vignetting=0.15,
    noise=3.0,
    sharpening=0.5,
    jpeg=90,
)


def print_page(page: np.ndarray, dpi: int, printer: Printer = Printer(), seed: int = 0) -> np.ndarray:
    """Reflectance of a printed page, (H, W) uint8 in {0, 255} in dots → float32 at OVERSAMPLING samples per dot.

    The paper's colour is not included: white paper has reflectance 1 on average.
    """
    random = np.random.default_rng(seed)
    unit = MILLIMETRES / dpi / OVERSAMPLING
    if printer.scale != 1:
        page = cv2.resize(page, None, fx=printer.scale, fy=printer.scale, interpolation=cv2.INTER_NEAREST)
    black = (page < 128).repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1).astype(np.float32)
    exposure = cv2.GaussianBlur(black, (0, 0), printer.spot / unit)
    exposure += printer.exposure_noise * np.sqrt(exposure) * _noise(black.shape, printer.grain / unit, random)
    # An edge of full exposure moves by `growth` where the blurred exposure falls to this level.
    threshold = 0.5 * (1 - scipy.special.erf(printer.growth / printer.spot / np.sqrt(2)))
    toner = scipy.special.expit((exposure - np.float32(threshold)) * 20)
    area = black.size * unit**2
    _spots(toner, 0.0, random.poisson(printer.voids * area), unit, random)
    _spots(toner, 1.0, random.poisson(printer.specks * area), unit, random)
    transmission = 1 - toner * np.float32(1 - np.sqrt(printer.toner))
    paper = 1 + printer.texture * (
        0.7 * _noise(black.shape, 0.1 / unit, random) + 0.7 * _noise(black.shape, 0.4 / unit, random)
    )
    return transmission * _scattered(paper * transmission, printer.scatter, unit)


def _noise(shape: tuple[int, int], sigma: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit variance, blurred by `sigma` samples, float32."""
    step = max(int(sigma / 2), 1)  # coarse noise is drawn at a coarse resolution
    small = random.standard_normal([-(-side // step) + 2 for side in shape], np.float32)
    if sigma / step > 0.3:
        small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    if step > 1:
        small = cv2.resize(small, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return (small / small.std())[: shape[0], : shape[1]]


def _spots(toner: np.ndarray, value: float, count: int, unit: float, random: np.random.Generator) -> None:
    """Draw round voids (value 0) or specks (1) into the toner, in place."""
    for y, x, radius in zip(*random.uniform(0, 1, (3, count)), strict=True):
        centre = int(x * toner.shape[1]), int(y * toner.shape[0])
        cv2.circle(toner, centre, max(round((0.02 + 0.03 * radius) / unit), 1), value, -1)


def _scattered(light: np.ndarray, scatter: float, unit: float) -> np.ndarray:
    """Light that has spread in the paper, at the resolution of the dots."""
    small = cv2.resize(light, None, fx=1 / OVERSAMPLING, fy=1 / OVERSAMPLING, interpolation=cv2.INTER_AREA)
    edge = round(4 * scatter / (unit * OVERSAMPLING))
    padded = cv2.copyMakeBorder(small, edge, edge, edge, edge, cv2.BORDER_REFLECT_101)
    shape = [scipy.fft.next_fast_len(side, real=True) for side in padded.shape]
    frequency_y = scipy.fft.fftfreq(shape[0], unit * OVERSAMPLING)[:, None]
    frequency_x = scipy.fft.rfftfreq(shape[1], unit * OVERSAMPLING)
    response = 1 / (1 + scatter**2 * (frequency_y**2 + frequency_x**2))
    spread = scipy.fft.irfft2(scipy.fft.rfft2(padded, shape) * response.astype(np.float32), shape)
    spread = spread[edge : edge + small.shape[0], edge : edge + small.shape[1]].astype(np.float32)
    return cv2.resize(spread, light.shape[::-1], interpolation=cv2.INTER_LINEAR)


def capture(
    reflectance: np.ndarray, dpi: int, device: Capture = Capture(), printer: Printer = Printer(), seed: int = 0
) -> np.ndarray:
    """The scan or photograph of `print_page`'s result, (H, W, 3) uint8 BGR, with a border around the page."""
    random = np.random.default_rng(seed)
    unit, pixel = MILLIMETRES / dpi / OVERSAMPLING, MILLIMETRES / device.resolution
    # The aperture of a pixel, a box, has the variance pixel² / 12.
    sigma = np.sqrt(device.blur**2 + pixel**2 / 12) / unit
    blurred = cv2.GaussianBlur(reflectance, (0, 0), sigma)
    size = np.array(reflectance.shape[::-1]) * unit
    border = 0.06 * size.max()
    width, height = (int(side) for side in (size + 2 * border) / pixel)
    x, y = np.meshgrid(
        (np.arange(width, dtype=np.float32) - width / 2) * pixel,
        (np.arange(height, dtype=np.float32) - height / 2) * pixel,
    )
    corner = float(np.hypot(width, height)) / 2 * pixel
    radius = (x**2 + y**2) / corner**2
    light = 1 - device.vignetting * radius - device.shading * (0.5 + 0.5 * (x * 0.8 + y * 0.6) / corner)
    page_x, page_y = _on_page(x, y, radius, device, random)
    scan = cv2.remap(
        blurred,
        ((page_x + size[0] / 2) / unit).astype(np.float32),
        ((page_y + size[1] / 2) / unit).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=1.0,
    )
    if device.defocus:
        scan = cv2.GaussianBlur(scan, (0, 0), device.defocus)
    bgr = (scan * light).astype(np.float32)[..., None] * np.array(printer.paper, np.float32)
    levels = 255 * np.clip(bgr, 0, 1) ** np.float32(1 / GAMMA)
    levels += np.float32(device.noise) * random.standard_normal(levels.shape, np.float32)
    if device.sharpening:
        levels += device.sharpening * (levels - cv2.GaussianBlur(levels, (0, 0), 1.5))
    image = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    if device.jpeg is not None:
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, device.jpeg])[1], cv2.IMREAD_COLOR)
    return image


def _on_page(
    x: np.ndarray, y: np.ndarray, radius: np.ndarray, device: Capture, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Position on the page, in mm from its centre, of each pixel of a capture."""
    x, y = (side * (1 + device.distortion * radius) for side in (x, y))
    if device.perspective:
        distance, tilt = 350.0, math.radians(device.perspective)  # of the camera, in mm
        depth = 1 - y * math.sin(tilt) / distance - 0.4 * x * math.sin(tilt) / distance
        x, y = x / depth, y * math.cos(tilt) / depth
    turn, skew = math.radians(device.rotation), math.radians(device.rotation + device.skew)
    x, y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(skew) * x + math.cos(skew) * y
    page = [side * (1 + error) for side, error in zip((x, y), device.stretch, strict=True)]
    phases = random.uniform(0, 2 * np.pi, 6).tolist()
    for axis in (0, 1):
        slow = np.sin(x / 34 + phases[3 * axis]) * np.cos(y / 28 + phases[3 * axis + 1])
        page[axis] += device.wander * (0.7 * slow + 0.3 * np.sin(y / 7 + phases[3 * axis + 2]))
    return page[0], page[1]
