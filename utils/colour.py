"""Colour constants and names. Channel order is BGR unless stated."""

import re

from PIL import ImageColor

from utils.errors import UserError

BT601_BGR = (0.114, 0.587, 0.299)
"""Luma Y = 0.114 B + 0.587 G + 0.299 R (ITU-R BT.601)."""
CR_SCALE, CB_SCALE = 0.713, 0.564
"""Cr = 0.713 (R - Y) and Cb = 0.564 (B - Y) (ITU-R BT.601, full range)."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalization of torchvision's pretrained networks: red, green, blue in [0, 1]."""


def parse_colour(text: str) -> tuple[int, int, int]:
    """A colour as RRGGBB or RGB in hexadecimal, with or without #, or a CSS name: B, G, R in 0..255.

    Raises UserError for any other text.
    """
    word = text.strip().lower()
    if re.fullmatch("[0-9a-f]{3}|[0-9a-f]{6}", word):
        word = f"#{word}"
    if not re.fullmatch("#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]+", word) or word[0] != "#" and word not in ImageColor.colormap:
        raise UserError(f"{text!r} is not a colour: allowed are RRGGBB or RGB in hexadecimal, and the names of CSS")
    return ImageColor.getrgb(word)[2::-1]
