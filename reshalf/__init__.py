"""ResHalf: colour photograph → reversible binary halftone → colour photograph.

codec = ResHalfCodec()
halftone = codec.halftone(photograph)
photograph = codec.restore(halftone)
"""

import halftone  # noqa: F401  sets the threads before torch loads

# isort: split

from reshalf.codec import PAPER, SHIPPED, ResHalfCodec, load_reshalf

__all__ = ["PAPER", "SHIPPED", "ResHalfCodec", "load_reshalf"]
