"""The networks, the dither prior and the objectives."""

import halftone  # noqa: F401  sets numba's cache directory and the threads, before torch loads
