"""The training loop, its configs, checkpoints and devices; nothing here knows a network."""

import halftone  # noqa: F401  sets the threads before torch loads
