"""Networks that see whole pictures, as statistics of them."""

import numpy as np
import torch
from torch import Tensor, nn

WINDOW, ROWS = 256, 3
"""Statistics of pictures larger than WINDOW pixels: of up to ROWS × ROWS windows of that side."""


class PictureNet(nn.Module):
    """Statistics (N, `statistics`) → (N, `outputs`), through two hidden layers of `width`. Initially zero.

    The statistics are normalized by their `mean` and `deviation` in training.
    """

    def __init__(self, statistics: int, outputs: int, width: int, dropout: float = 0.3):
        super().__init__()
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("deviation", torch.ones(statistics))
        self.layers = nn.Sequential(
            nn.Dropout(dropout / 3),
            nn.Linear(statistics, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, outputs),
        )
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, statistics: Tensor) -> Tensor:
        return self.layers((statistics - self.mean) / self.deviation)


def windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Windows of up to WINDOW pixels a side, up to ROWS × ROWS of them, evenly over an image of this size."""
    parts = []
    for side in (height, width):
        count = min(ROWS, -(-side // WINDOW))
        starts = np.linspace(0, max(side - WINDOW, 0), count).astype(int).tolist()
        parts.append([slice(start, min(start + WINDOW, side)) for start in starts])
    return [(row, column) for row in parts[0] for column in parts[1]]
