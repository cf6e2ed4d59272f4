"""ResHalf: colour photograph → reversible binary halftone → colour photograph.

codec = ResHalfCodec()
halftone = codec.halftone(photograph)
photograph = codec.restore(halftone)
"""

from reshalf.codec import PAPER, SHIPPED, ResHalfCodec, load_reshalf

__all__ = ["PAPER", "SHIPPED", "ResHalfCodec", "load_reshalf"]
