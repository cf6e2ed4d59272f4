"""Overlapping windows over an image: pure arithmetic."""

from collections.abc import Iterator


def windows(height: int, width: int, tile: int, halo: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Pairs of (core, window), each (rows, columns): cores tile the image, windows add a halo clipped at the border."""
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            yield (
                (slice(top, bottom), slice(left, right)),
                (
                    slice(max(top - halo, 0), min(bottom + halo, height)),
                    slice(max(left - halo, 0), min(right + halo, width)),
                ),
            )
