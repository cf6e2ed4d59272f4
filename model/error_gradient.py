"""Gradient of the restoration error with respect to the halftone, for the guided search (model/guidance.py).

On CPUs the demodulation (`Prior.demodulate`), the error and their derivatives are numba loops with few passes over
memory, about twice as fast as autograd (bench/inference_speed.py, row "autograd gradient"); other devices use autograd.

Forward, for a halftone h in {-1, 1}, a photograph t in [-1, 1], carriers c1, c2, the prior's amplitude a and the proxy
P (B x = (G ∗ x) / n: Gaussian blur with zeros beyond the border, divided by the share n of the kernel inside it):
    L = B_l h,  μ = B_c h,  u = B_c (c1 h),  v = B_c (c2 h)     B_l: luma filter, B_c: chroma filter
    ρ = max(1 - |μ|, MIN_HEADROOM),  s = max(|u|, |v|) / ρ,  g = artanh(s) / (s a)     s clipped (model/prior.py)
    Cr = g u,  Cb = g v,  D = BGR of (L, Cr, Cb),  E = Σ (D + P(h, D) - t)²
Backward:
    e = ∂E/∂(D + P) = 2 (D + P - t),  (p_h, p_D) = J_Pᵀ e     in int8, straight through the rounding
    ∂E/∂D = e + p_D = (q_B, q_G, q_R)
    ∂E/∂L = q_B + q_G + q_R
    r = ∂E/∂Cr = RED_BY_CR q_R - GREEN_BY_CR q_G,  b = ∂E/∂Cb = BLUE_BY_CB q_B - GREEN_BY_CB q_G
    ∂E/∂g = r u + b v,  dg/ds = (1 / ((1 - s²) a) - g) / s     0 where s is clipped
    k = ∂E/∂g dg/ds,  ∂E/∂μ = k s sign(μ) / ρ     0 where ρ is clipped
    ∂E/∂u = g r + [|u| ≥ |v|] k sign(u) / ρ,  ∂E/∂v = g b + [|u| < |v|] k sign(v) / ρ
    ∂E/∂h = p_h + B_lᵀ ∂E/∂L + B_cᵀ ∂E/∂μ + c1 B_cᵀ ∂E/∂u + c2 B_cᵀ ∂E/∂v,  Bᵀ y = G ∗ (y / n)
The proxy works on 2 × 2 blocks. An odd side is extended by the reflected row x[H] = x[H - 2]; its adjoint adds the
gradient of row H to that of row H - 2.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from halftone.dbs import parallel_loop
from model.composite import MIN_HEADROOM
from model.fixed_point import FixedPoint, signed_byte
from model.prior import BLUE_BY_CB, GREEN_BY_CB, GREEN_BY_CR, MAX_SATURATION, MIN_SATURATION, RED_BY_CR, Prior
from utils.pixels import to_tensor


def error_gradient(prior: Prior, proxy: FixedPoint, bgr: np.ndarray, halftone: np.ndarray) -> np.ndarray:
    """∂E/∂h, E the summed squared error of `proxy`'s restoration, h the halftone in {-1, 1}: (H, W) float32.

    bgr  (H, W, 3) BGR uint8; halftone (H, W) uint8 in {0, 255}, its first row and column of even parity
    """
    with parallel_loop():  # with autograd too: FixedPoint masks gradients in parallel
        if proxy.device.type == "cpu":
            return _by_numba(prior, proxy, bgr, halftone)
        return by_autograd(prior, proxy, bgr, halftone, proxy.device)


def by_autograd(
    prior: Prior, proxy: Callable[[Tensor], Tensor], bgr: np.ndarray, halftone: np.ndarray, device: torch.device
) -> np.ndarray:
    """`error_gradient` by autograd, for any differentiable `proxy`; float32 inside autocast regions too."""
    colour, dots = to_tensor(bgr).to(device), to_tensor(halftone).to(device)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        dots = dots.clone().requires_grad_()
        error = (prior.restore(proxy, dots) - colour).square().sum()
        return torch.autograd.grad(error, dots)[0][0, 0].cpu().numpy()


def _by_numba(prior: Prior, proxy: FixedPoint, bgr: np.ndarray, halftone: np.ndarray) -> np.ndarray:
    (height, width), packed = halftone.shape, tuple(-(-side // 2) for side in halftone.shape)
    signal = np.where(halftone > 127, np.float32(1), np.float32(-1))
    filters = _filters(prior, height, width)

    planes = np.empty((4, height, width), np.float32)  # L, μ, u, v, later the derivatives with respect to them
    gain = np.empty((height, width), np.float32)
    _blur(signal, *filters, np.float32(prior.amplitude), planes, gain)
    linear, inputs = np.empty((*packed, 12), np.float32), np.empty((1, *packed, 16), np.uint8)
    _demodulate(signal, planes, gain, proxy.input.scale, linear, inputs[0])
    activations: list[Tensor] = []
    with torch.inference_mode():
        residual = proxy.forward(proxy.from_bytes(inputs), activations)[0].permute(1, 2, 0).contiguous().numpy()
    errors, quantized = residual, np.empty((1, *packed, 12), np.uint8)  # in place: e replaces P(h, D)
    _differentiate_error(bgr, linear, proxy.gradient.scale, errors, quantized[0])
    with torch.inference_mode():
        back = proxy.backward(proxy.from_bytes(quantized), activations)[0].permute(1, 2, 0).contiguous().numpy()
    _reflection_adjoint(back.reshape(*packed, 4, 2, 2), height, width)
    gradient = np.empty((height, width), np.float32)
    _differentiate_demodulation(planes, gain, np.float32(prior.amplitude), *filters[2:], errors, back, gradient)
    _add_blur_adjoint(planes, *filters[:2], gradient)
    return gradient


def _filters(prior: Prior, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Taps of the luma and the chroma filter, (K,) float32, and factors 1 / n for rows (3, H) and columns (3, W).

    The three factors are for luma, chroma, and chroma times (-1)^y or (-1)^x, for the carriers.
    """
    both_taps = prior.demodulator_taps()
    factors = []
    for side in (height, width):
        luma, chroma = (1 / np.convolve(np.ones(side, np.float32), taps)[len(taps) // 2 :][:side] for taps in both_taps)
        factors.append(np.stack((luma, chroma, chroma * (1 - 2 * (np.arange(side) % 2)))).astype(np.float32))
    return *both_taps, *factors


def _reflection_adjoint(back: np.ndarray, height: int, width: int) -> None:
    """Adjoint of the reflection at odd sides, in place, for gradients (h, w, C, 2, 2) of 2 × 2 blocks."""
    if width % 2:
        back[:, max(width // 2 - 1, 0), :, :, int(width > 1)] += back[:, width // 2, :, :, 1]
    if height % 2:
        back[max(height // 2 - 1, 0), :, :, int(height > 1)] += back[height // 2, :, :, 1]


ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)  # in numba, int times float32 is float64
# Parallel loops only call a function for each row, which numba compiles much faster.


@numba.njit(cache=True)
def _add_scaled(total, weight, line):
    for x in range(len(total)):
        total[x] += weight * line[x]


@numba.njit(cache=True)
def _filter_vertically(plane, y, taps, modulated, target):
    """Add row y of the vertically filtered (H, W) to `target`; `modulated`: row y' is multiplied by (-1)^(y' - y)."""
    for k in range(len(taps)):
        row = y + k - len(taps) // 2
        if 0 <= row < len(plane):
            weight = -taps[k] if modulated and (row - y) % 2 else taps[k]
            _add_scaled(target, weight, plane[row])


@numba.njit(cache=True)
def _filter_horizontally(padded, taps, even, odd):
    """Sums over the taps at even and at odd distances, (W,) each, of which even ± odd are both filter outputs.

    padded  (W + 2 radius,), zeros at both ends
    """
    even[:] = 0
    odd[:] = 0
    for k in range(len(taps)):
        _add_scaled(odd if (k - len(taps) // 2) % 2 else even, taps[k], padded[k : k + len(even)])


@numba.njit(cache=True)
def _blur_row(y, signal, luma_taps, chroma_taps, rows, columns, planes):
    width = signal.shape[1]
    even, odd = np.empty(width, np.float32), np.empty(width, np.float32)
    for kind in range(3):  # L; μ; u and v
        taps = chroma_taps if kind else luma_taps
        radius = len(taps) // 2
        padded = np.zeros(width + 2 * radius, np.float32)
        _filter_vertically(signal, y, taps, kind == 2, padded[radius : radius + width])
        _filter_horizontally(padded, taps, even, odd)
        factor = rows[kind, y]
        for x in range(width):
            if kind < 2:
                planes[kind, y, x] = (even[x] + odd[x]) * factor * columns[kind, x]
            else:
                planes[2, y, x] = (even[x] - odd[x]) * factor * columns[2, x]
                planes[3, y, x] = (even[x] + odd[x]) * factor * columns[1, x]


@numba.njit(cache=True)
def _gain_row(y, planes, amplitude, gain):
    for x in range(len(gain)):
        headroom = max(ONE - abs(planes[1, y, x]), np.float32(MIN_HEADROOM))
        largest = max(abs(planes[2, y, x]), abs(planes[3, y, x]))
        saturation = min(max(largest / headroom, np.float32(MIN_SATURATION)), np.float32(MAX_SATURATION))
        gain[x] = HALF * np.log((ONE + saturation) / (ONE - saturation)) / (saturation * amplitude)


@numba.njit(parallel=True, cache=True, nogil=True)
def _blur(signal, luma_taps, chroma_taps, rows, columns, amplitude, planes, gain):
    """Halftone (H, W) in {-1, 1} → L, μ, u, v in `planes` (4, H, W) and g in `gain` (H, W)."""
    for y in numba.prange(len(signal)):
        _blur_row(np.int64(y), signal, luma_taps, chroma_taps, rows, columns, planes)
        _gain_row(np.int64(y), planes, amplitude, gain[y])


@numba.njit(cache=True)
def _add_blur_adjoint_row(y, planes, luma_taps, chroma_taps, target):
    width = len(target)
    even, odd = np.empty(width, np.float32), np.empty(width, np.float32)
    for kind in range(3):  # L; μ and v, neither modulated along x; u
        taps = chroma_taps if kind else luma_taps
        radius = len(taps) // 2
        padded = np.zeros(width + 2 * radius, np.float32)
        _filter_vertically(planes[2 if kind == 2 else kind], y, taps, kind == 2, padded[radius : radius + width])
        if kind == 1:
            _filter_vertically(planes[3], y, taps, True, padded[radius : radius + width])
        _filter_horizontally(padded, taps, even, odd)
        for x in range(width):
            target[x] += even[x] - odd[x] if kind == 2 else even[x] + odd[x]


@numba.njit(parallel=True, cache=True, nogil=True)
def _add_blur_adjoint(planes, luma_taps, chroma_taps, gradient):
    """Add the terms of ∂E/∂h that pass through L, μ, u, v; `planes` has their derivatives, times 1 / n and carrier."""
    for y in numba.prange(len(gradient)):
        _add_blur_adjoint_row(np.int64(y), planes, luma_taps, chroma_taps, gradient[y])


@numba.njit(cache=True)
def _demodulate_rows(top, signal, planes, gain, scale, linear, inputs):
    height, width = signal.shape
    for j in range(len(linear)):
        for phase in range(4):
            y, x = top + phase // 2, 2 * j + phase % 2
            y, x = y if y < height else max(y - 2, 0), x if x < width else max(x - 2, 0)  # reflection at odd sides
            cr, cb = planes[2, y, x] * gain[y, x], planes[3, y, x] * gain[y, x]
            blue = planes[0, y, x] + cb * np.float32(BLUE_BY_CB)
            green = planes[0, y, x] - cr * np.float32(GREEN_BY_CR) - cb * np.float32(GREEN_BY_CB)
            red = planes[0, y, x] + cr * np.float32(RED_BY_CR)
            inputs[j, phase] = signed_byte(signal[y, x], scale)
            linear[j, phase], inputs[j, 4 + phase] = blue, signed_byte(blue, scale)
            linear[j, 4 + phase], inputs[j, 8 + phase] = green, signed_byte(green, scale)
            linear[j, 8 + phase], inputs[j, 12 + phase] = red, signed_byte(red, scale)


@numba.njit(parallel=True, cache=True, nogil=True)
def _demodulate(signal, planes, gain, scale, linear, inputs):
    """D in `linear` (h, w, 12) and the proxy's quantized input (h, D) in `inputs` (h, w, 16), in 2 × 2 blocks."""
    for i in numba.prange(len(linear)):
        _demodulate_rows(2 * np.int64(i), signal, planes, gain, scale, linear[i], inputs[i])


@numba.njit(cache=True)
def _differentiate_error_rows(top, bgr, linear, scale, errors, quantized):
    height, width = bgr.shape[:2]
    for j in range(len(linear)):
        for phase in range(4):
            y, x = top + phase // 2, 2 * j + phase % 2
            inside = y < height and x < width
            for channel in range(3):
                at = 4 * channel + phase
                error = np.float32(0)
                if inside:
                    colour = np.float32(bgr[y, x, channel]) / np.float32(127.5) - ONE
                    error = TWO * (linear[j, at] + errors[j, at] - colour)
                errors[j, at], quantized[j, at] = error, signed_byte(error, scale)


@numba.njit(parallel=True, cache=True, nogil=True)
def _differentiate_error(bgr, linear, scale, errors, quantized):
    """Replace P(h, D) in `errors` (h, w, 12) by e = 2 (D + P - t), and quantize it."""
    for i in numba.prange(len(linear)):
        _differentiate_error_rows(2 * np.int64(i), bgr, linear[i], scale, errors[i], quantized[i])


@numba.njit(cache=True)
def _differentiate_demodulation_row(y, planes, gain, amplitude, rows, columns, errors, back, gradient):
    for x in range(len(gradient)):
        j, phase = x // 2, 2 * (y % 2) + x % 2
        gradient[x] = back[j, phase]
        blue = errors[j, phase] + back[j, 4 + phase]
        green = errors[j, 4 + phase] + back[j, 8 + phase]
        red = errors[j, 8 + phase] + back[j, 12 + phase]
        by_cr = red * np.float32(RED_BY_CR) - green * np.float32(GREEN_BY_CR)
        by_cb = blue * np.float32(BLUE_BY_CB) - green * np.float32(GREEN_BY_CB)

        mean, u, v = planes[1, y, x], planes[2, y, x], planes[3, y, x]
        headroom = max(ONE - abs(mean), np.float32(MIN_HEADROOM))
        saturation = max(abs(u), abs(v)) / headroom
        slope, by_mean = np.float32(0), np.float32(0)  # slope: k s / ρ
        if np.float32(MIN_SATURATION) < saturation < np.float32(MAX_SATURATION):
            by_gain = by_cr * u + by_cb * v
            slope = (ONE / ((ONE - saturation * saturation) * amplitude) - gain[x]) / headroom * by_gain
            if headroom > np.float32(MIN_HEADROOM):
                by_mean = slope * np.sign(mean)
        by_u, by_v = by_cr * gain[x], by_cb * gain[x]
        if slope != 0:
            if abs(u) >= abs(v):
                by_u += np.sign(u) * slope / saturation
            else:
                by_v += np.sign(v) * slope / saturation
        planes[0, y, x] = (blue + green + red) * rows[0, y] * columns[0, x]
        planes[1, y, x] = by_mean * rows[1, y] * columns[1, x]
        planes[2, y, x] = by_u * rows[2, y] * columns[2, x]
        planes[3, y, x] = by_v * rows[2, y] * columns[1, x]


@numba.njit(parallel=True, cache=True, nogil=True)
def _differentiate_demodulation(planes, gain, amplitude, rows, columns, errors, back, gradient):
    """Replace L, μ, u, v in `planes` by the derivatives with respect to them, times 1 / n and carrier.

    errors, back  e and (p_h, p_D), (h, w, 12) and (h, w, 16) in 2 × 2 blocks
    gradient      (H, W), set to p_h
    """
    for y in numba.prange(len(gradient)):
        _differentiate_demodulation_row(
            np.int64(y), planes, gain[y], amplitude, rows, columns, errors[y // 2], back[y // 2], gradient[y]
        )
