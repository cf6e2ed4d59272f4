"""Gradient of the squared error of a proxy's restoration with respect to every dot, for the guided halftone search.

On CPUs, what surrounds the proxy is written out in numba, in as few passes over the memory as possible: demodulation
(`Prior.demodulate`), the error, and the derivatives of both. Elsewhere torch differentiates them.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from halftone.dbs import ONE_AT_A_TIME
from model.composite import LEAST_HEADROOM
from model.fixed_point import FixedPoint, signed_byte
from model.prior import BLUE_BY_CB, GREEN_BY_CB, GREEN_BY_CR, LEAST_SATURATION, MOST_SATURATION, RED_BY_CR, Prior
from utils.pixels import to_tensor


def error_gradient(prior: Prior, proxy: FixedPoint, bgr: np.ndarray, halftone: np.ndarray) -> np.ndarray:
    """Gradient of the summed squared error of `proxy`'s restoration with respect to dots in {-1, 1}: (H, W) float32.

    bgr  (H, W, 3) BGR uint8; halftone (H, W) uint8 in {0, 255}, its first row and column of even parity
    """
    with ONE_AT_A_TIME:  # under autograd too, FixedPoint masks gradients in parallel
        if proxy.device.type == "cpu" and prior.demodulator:
            return _by_numba(prior, proxy, bgr, halftone)
        return by_autograd(prior, proxy, bgr, halftone, proxy.device)


def by_autograd(
    prior: Prior, proxy: Callable[[Tensor], Tensor], bgr: np.ndarray, halftone: np.ndarray, device: torch.device
) -> np.ndarray:
    """`error_gradient` as torch differentiates it, of any `proxy`. In single precision whatever surrounds it."""
    colour, dots = to_tensor(bgr).to(device), to_tensor(halftone).to(device)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        dots = dots.clone().requires_grad_()
        error = (prior.restore(proxy, dots) - colour).square().sum()
        return torch.autograd.grad(error, dots)[0][0, 0].cpu().numpy()


def _by_numba(prior: Prior, proxy: FixedPoint, bgr: np.ndarray, halftone: np.ndarray) -> np.ndarray:
    (height, width), packed = halftone.shape, tuple(-(-side // 2) for side in halftone.shape)
    signal = np.where(halftone > 127, np.float32(1), np.float32(-1))
    filters = _filters(prior, height, width)

    seen = np.empty((4, height, width), np.float32)  # luma, local mean, what the carriers of Cr and Cb carry
    gain = np.empty((height, width), np.float32)
    _blur(signal, *filters, np.float32(prior.amplitude), seen, gain)
    linear, inputs = np.empty((*packed, 12), np.float32), np.empty((1, *packed, 16), np.uint8)
    _restore(signal, seen, gain, proxy.input.factor, linear, inputs[0])
    active: list[Tensor] = []
    with torch.inference_mode():
        gradient = proxy.forward(proxy.numbers(inputs), active)[0].permute(1, 2, 0).contiguous().numpy()
    gradients = np.empty((1, *packed, 12), np.uint8)
    _differentiate_error(bgr, linear, proxy.gradient.factor, gradient, gradients[0])
    with torch.inference_mode():
        back = proxy.backward(proxy.numbers(gradients), active)[0].permute(1, 2, 0).contiguous().numpy()
    _fold_reflection(back.reshape(*packed, 4, 2, 2), height, width)
    by_dot = np.empty((height, width), np.float32)
    _differentiate_restoration(seen, gain, np.float32(prior.amplitude), *filters[2:], gradient, back, by_dot)
    _blur_back(seen, *filters[:2], by_dot)
    return by_dot


def _filters(prior: Prior, height: int, width: int) -> tuple[np.ndarray, ...]:
    """The luma and the chroma filter, (K,) float32, and by row and by column what their sums are multiplied with.

    That is one over the share of the filter inside the image: (3, side) for luma, chroma, and chroma on a carrier.
    """
    lines = prior.demodulator_lines()
    factors = []
    for side in (height, width):
        luma, chroma = (1 / np.convolve(np.ones(side, np.float32), line)[len(line) // 2 :][:side] for line in lines)
        factors.append(np.stack((luma, chroma, chroma * (1 - 2 * (np.arange(side) % 2)))).astype(np.float32))
    return *lines, *factors


def _fold_reflection(back: np.ndarray, height: int, width: int) -> None:
    """Odd sides were extended by reflection: (h, w, C, 2, 2) gradients there belong to the pixels reflected."""
    if width % 2:
        back[:, max(width // 2 - 1, 0), :, :, int(width > 1)] += back[:, width // 2, :, :, 1]
    if height % 2:
        back[max(height // 2 - 1, 0), :, :, int(height > 1)] += back[height // 2, :, :, 1]


ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)  # numba takes 1 times a float32 for a float64
# What runs in parallel below only calls what does one row, which numba compiles much sooner.


@numba.njit(cache=True)
def _add_line(total, weight, line):
    for x in range(len(total)):
        total[x] += weight * line[x]


@numba.njit(cache=True)
def _down(planes, y, line, modulated, target):
    """Add row y of the vertically filtered (H, W) to `target`; `modulated`: of (-1)^(y' - y) times each row y'."""
    for k in range(len(line)):
        row = y + k - len(line) // 2
        if 0 <= row < len(planes):
            weight = -line[k] if modulated and (row - y) % 2 else line[k]
            _add_line(target, weight, planes[row])


@numba.njit(cache=True)
def _along(padded, line, even, odd):
    """The taps of a horizontal filter at an even distance, and those at an odd one: (W,) each.

    `padded` (W + 2 reach,) has zeros at both ends.
    """
    even[:] = 0
    odd[:] = 0
    for k in range(len(line)):
        _add_line(odd if (k - len(line) // 2) % 2 else even, line[k], padded[k : k + len(even)])


@numba.njit(cache=True)
def _blur_row(y, signal, luma_line, chroma_line, rows, columns, seen):
    width = signal.shape[1]
    even, odd = np.empty(width, np.float32), np.empty(width, np.float32)
    for kind in range(3):  # luma, local mean, products with the carriers
        line = chroma_line if kind else luma_line
        reach = len(line) // 2
        padded = np.zeros(width + 2 * reach, np.float32)
        _down(signal, y, line, kind == 2, padded[reach : reach + width])
        _along(padded, line, even, odd)
        factor = rows[kind, y]
        for x in range(width):
            if kind < 2:
                seen[kind, y, x] = (even[x] + odd[x]) * factor * columns[kind, x]
            else:
                seen[2, y, x] = (even[x] - odd[x]) * factor * columns[2, x]
                seen[3, y, x] = (even[x] + odd[x]) * factor * columns[1, x]


@numba.njit(cache=True)
def _gain_row(y, seen, amplitude, gain):
    for x in range(len(gain)):
        headroom = max(ONE - abs(seen[1, y, x]), np.float32(LEAST_HEADROOM))
        largest = max(abs(seen[2, y, x]), abs(seen[3, y, x]))
        saturation = min(max(largest / headroom, np.float32(LEAST_SATURATION)), np.float32(MOST_SATURATION))
        gain[x] = HALF * np.log((ONE + saturation) / (ONE - saturation)) / (saturation * amplitude)


@numba.njit(parallel=True, cache=True)
def _blur(signal, luma_line, chroma_line, rows, columns, amplitude, seen, gain):
    """`Prior.demodulate` of dots (H, W) in {-1, 1}: blurred products (4, H, W) and the gain of the chroma (H, W)."""
    for y in numba.prange(len(signal)):
        _blur_row(np.int64(y), signal, luma_line, chroma_line, rows, columns, seen)
        _gain_row(np.int64(y), seen, amplitude, gain[y])


@numba.njit(cache=True)
def _blur_row_back(y, seen, luma_line, chroma_line, target):
    width = len(target)
    even, odd = np.empty(width, np.float32), np.empty(width, np.float32)
    for kind in range(3):  # luma; local mean and the carrier of Cb; that of Cr
        line = chroma_line if kind else luma_line
        reach = len(line) // 2
        padded = np.zeros(width + 2 * reach, np.float32)
        _down(seen[2 if kind == 2 else kind], y, line, kind == 2, padded[reach : reach + width])
        if kind == 1:
            _down(seen[3], y, line, True, padded[reach : reach + width])
        _along(padded, line, even, odd)
        for x in range(width):
            target[x] += even[x] - odd[x] if kind == 2 else even[x] + odd[x]


@numba.njit(parallel=True, cache=True)
def _blur_back(seen, luma_line, chroma_line, by_dot):
    """Add to `by_dot` what the gradients by the four blurred products contribute, with carriers and shares undone."""
    for y in numba.prange(len(by_dot)):
        _blur_row_back(np.int64(y), seen, luma_line, chroma_line, by_dot[y])


@numba.njit(cache=True)
def _restore_rows(top, signal, seen, gain, factor, linear, inputs):
    height, width = signal.shape
    for j in range(len(linear)):
        for phase in range(4):
            y, x = top + phase // 2, 2 * j + phase % 2
            y, x = y if y < height else max(y - 2, 0), x if x < width else max(x - 2, 0)  # odd sides are reflected
            cr, cb = seen[2, y, x] * gain[y, x], seen[3, y, x] * gain[y, x]
            blue = seen[0, y, x] + cb * np.float32(BLUE_BY_CB)
            green = seen[0, y, x] - cr * np.float32(GREEN_BY_CR) - cb * np.float32(GREEN_BY_CB)
            red = seen[0, y, x] + cr * np.float32(RED_BY_CR)
            inputs[j, phase] = signed_byte(signal[y, x], factor)
            linear[j, phase], inputs[j, 4 + phase] = blue, signed_byte(blue, factor)
            linear[j, 4 + phase], inputs[j, 8 + phase] = green, signed_byte(green, factor)
            linear[j, 8 + phase], inputs[j, 12 + phase] = red, signed_byte(red, factor)


@numba.njit(parallel=True, cache=True)
def _restore(signal, seen, gain, factor, linear, inputs):
    """The blurred products into colours, (h, w, 12), and with the dots into the bytes that the proxy takes."""
    for i in numba.prange(len(linear)):
        _restore_rows(2 * np.int64(i), signal, seen, gain, factor, linear[i], inputs[i])


@numba.njit(cache=True)
def _differentiate_error_rows(top, bgr, linear, factor, gradient, gradients):
    height, width = bgr.shape[:2]
    for j in range(len(linear)):
        for phase in range(4):
            y, x = top + phase // 2, 2 * j + phase % 2
            inside = y < height and x < width
            for channel in range(3):
                at = 4 * channel + phase
                by = np.float32(0)
                if inside:
                    colour = np.float32(bgr[y, x, channel]) / np.float32(127.5) - ONE
                    by = TWO * (linear[j, at] + gradient[j, at] - colour)
                gradient[j, at], gradients[j, at] = by, signed_byte(by, factor)


@numba.njit(parallel=True, cache=True)
def _differentiate_error(bgr, linear, factor, gradient, gradients):
    """What the proxy adds to `linear` gives way to the gradient of the squared error by it; the bytes of that."""
    for i in numba.prange(len(linear)):
        _differentiate_error_rows(2 * np.int64(i), bgr, linear[i], factor, gradient[i], gradients[i])


@numba.njit(cache=True)
def _differentiate_row(y, seen, gain, amplitude, rows, columns, gradient, back, by_dot):
    for x in range(len(by_dot)):
        j, phase = x // 2, 2 * (y % 2) + x % 2
        by_dot[x] = back[j, phase]
        blue = gradient[j, phase] + back[j, 4 + phase]
        green = gradient[j, 4 + phase] + back[j, 8 + phase]
        red = gradient[j, 8 + phase] + back[j, 12 + phase]
        by_cr = red * np.float32(RED_BY_CR) - green * np.float32(GREEN_BY_CR)
        by_cb = blue * np.float32(BLUE_BY_CB) - green * np.float32(GREEN_BY_CB)

        mean, cr, cb = seen[1, y, x], seen[2, y, x], seen[3, y, x]
        headroom = max(ONE - abs(mean), np.float32(LEAST_HEADROOM))
        saturation = max(abs(cr), abs(cb)) / headroom
        rise, by_mean = np.float32(0), np.float32(0)
        if np.float32(LEAST_SATURATION) < saturation < np.float32(MOST_SATURATION):
            # Saturation / headroom times the derivative of the gain with respect to the saturation.
            by_gain = by_cr * cr + by_cb * cb
            rise = (ONE / ((ONE - saturation * saturation) * amplitude) - gain[x]) / headroom * by_gain
            if headroom > np.float32(LEAST_HEADROOM):
                by_mean = rise * np.sign(mean)
        by_cr, by_cb = by_cr * gain[x], by_cb * gain[x]
        if rise != 0:
            if abs(cr) >= abs(cb):
                by_cr += np.sign(cr) * rise / saturation
            else:
                by_cb += np.sign(cb) * rise / saturation
        seen[0, y, x] = (blue + green + red) * rows[0, y] * columns[0, x]
        seen[1, y, x] = by_mean * rows[1, y] * columns[1, x]
        seen[2, y, x] = by_cr * rows[2, y] * columns[2, x]
        seen[3, y, x] = by_cb * rows[2, y] * columns[1, x]


@numba.njit(parallel=True, cache=True)
def _differentiate_restoration(seen, gain, amplitude, rows, columns, gradient, back, by_dot):
    """From the gradients by the restoration and by the proxy's inputs to those by the filters' sums of taps.

    These take the place of the blurred products; what the proxy sees of the dots themselves is `by_dot`.
    """
    for y in numba.prange(len(by_dot)):
        _differentiate_row(
            np.int64(y),
            seen,
            gain[y],
            amplitude,
            rows,
            columns,
            gradient[y // 2],
            back[y // 2],
            by_dot[y],
        )
