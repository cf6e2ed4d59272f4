"""Training sets: preparing, reading, batches."""

import halftone  # noqa: F401  sets the threads before torch loads
