"""JPEG and WebP at a given bit budget, as references for the halftone."""

import cv2
import numpy as np

QUALITY = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}


def code_within(bgr: np.ndarray, suffix: str, bits: int) -> tuple[np.ndarray, int] | None:
    """Code (H, W, 3) BGR uint8 as ".jpg" or ".webp" at the highest quality whose whole file has at most `bits` bits.

    Returns the decoded image, (H, W, 3) BGR uint8, and the bits used; None when quality 1 exceeds the budget or the
    format does not support the image size. Other settings are OpenCV's defaults: baseline JPEG 4:2:0 without optimized
    Huffman tables (optimized ones gain 0.3 dB at 1 bit per pixel and 256²), lossy WebP. Quality is found by bisection.
    """
    lowest, highest, best = 1, 100, None
    while lowest <= highest:
        quality = (lowest + highest) // 2
        try:
            done, data = cv2.imencode(suffix, bgr, [QUALITY[suffix], quality])
        except cv2.error:  # WebP is limited to 16383 pixels a side
            return None
        if done and 8 * data.size <= bits:
            best, lowest = data, quality + 1
        else:
            highest = quality - 1
    return None if best is None else (cv2.imdecode(best, cv2.IMREAD_COLOR), 8 * best.size)
