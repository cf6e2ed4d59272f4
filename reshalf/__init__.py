"""ResHalf: a colour photograph becomes a binary halftone, and the halftone alone brings the colour back.

codec = ResHalfCodec()
halftone = codec.halftone(photograph)
photograph = codec.restore(halftone)
"""

from reshalf.codec import SHIPPED, ResHalfCodec, load_reshalf

__all__ = ["SHIPPED", "ResHalfCodec", "load_reshalf"]
