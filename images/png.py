"""Chunks of PNG files: those that decoding needs, declared colours, transparent colours, and the resolution."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from images.colour_space import Encoding, cicp_encoding
from images.resolution import Resolution, per_metre

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = frozenset({b"iCCP", b"pHYs", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"tRNS"})
_COLOURS = (b"sRGB", b"gAMA", b"cHRM", b"cICP", b"iCCP")
_GRAY, _RGB = 0, 2


class PngFile:
    """The bytes of a PNG file, reduced to what decoding needs.

    data      signature and chunks without text and other metadata, which decoders refuse above a few megabytes, and
              without the transparent colour of gray and RGB images, which OpenCV ignores
    settings  contents of the chunks that declare colours
    key       gray level or red, green, blue that are transparent, in the image's depth; or None
    """

    def __init__(self, data: bytes):
        kept, self.settings, self.key = [data[:8]], {}, None
        header = b""
        for kind, content, whole in _chunks(data):
            header = content if kind == b"IHDR" else header
            if kind in _COLOURS:
                self.settings.setdefault(kind, content)
            if kind == b"tRNS" and header[9:10] and header[9] in (_GRAY, _RGB):
                self.key = struct.unpack(f">{len(content) // 2}H", content[: len(content) // 2 * 2])
            elif kind[:1].isupper() or kind in _NEEDED:
                kept.append(whole)
        self.data = b"".join(kept)
        self.depth = header[8] if len(header) > 8 else 8

    def alpha(self, colour: np.ndarray) -> np.ndarray | None:
        """0 where a pixel of `colour`, gray or BGR as decoded, has the transparent colour, else 255; None without."""
        if self.key is None or len(self.key) != (1 if colour.ndim == 2 else 3):
            return None
        scale = 255 // (2**self.depth - 1) if self.depth < 8 else 1
        key = np.array(self.key[::-1], np.uint32) * scale
        same = colour == key[0] if colour.ndim == 2 else (colour == key).all(axis=2)
        return np.where(same, np.uint8(0), np.uint8(255))

    def encoding(self) -> Encoding | str | None:
        """The declared colour encoding, or why it is not supported; None: sRGB, or as the ICC profile says.

        cICP precedes an ICC profile, which precedes sRGB, gAMA and cHRM (PNG, third edition, section 4.3). A profile is
        used where cICP is not supported.
        """
        settings = self.settings
        if len(settings.get(b"cICP", b"")) == 4:
            encoding = cicp_encoding(*settings[b"cICP"])
            if isinstance(encoding, Encoding) or b"iCCP" not in settings:
                return encoding
        if b"iCCP" in settings or b"sRGB" in settings:
            return None
        gamma = int.from_bytes(settings.get(b"gAMA", b"")[:4], "big") / 100_000
        white_and_primaries = settings.get(b"cHRM", b"")
        if not gamma and len(white_and_primaries) != 32:
            return None
        encoding = Encoding(1 / gamma if gamma else None)
        if len(white_and_primaries) == 32:
            numbers = np.array(struct.unpack(">8I", white_and_primaries)) / 100_000
            encoding = encoding._replace(chromaticities=tuple(map(tuple, numbers.reshape(4, 2).tolist())))
        return encoding if encoding.valid() else "gAMA and cHRM with impossible values"


def with_resolution(png: bytes, resolution: Resolution | None) -> bytes:
    """An encoded PNG with a pHYs chunk after its header."""
    if resolution is None:
        return png
    content = b"pHYs" + struct.pack(">2IB", *per_metre(resolution), 1)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    after_header = 8 + 12 + 13
    return png[:after_header] + chunk + png[after_header:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, memoryview]]:
    """Kind, content (the first KiB) and whole of each chunk; the last may be cut off."""
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", view[at : at + 8])
        end = at + 12 + length
        yield kind, bytes(view[at + 8 : min(end - 4, at + 8 + 1024)]), view[at:end]
        at = end
