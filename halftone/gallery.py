"""Contact sheet: every method on the same photograph, at full resolution."""

import cv2
import numpy as np

from halftone.methods import METHODS

CELL, CAPTION, GAP, COLUMNS = 256, 22, 8, 6


def contact_sheet(gray: np.ndarray) -> np.ndarray:
    """Halftone the centre of a photograph by every method; captioned sheet, uint8 (H, W), photograph first.

    gray: uint8 (H, W) of any size; its central square is used, shrunk to 256 pixels if it is larger.
    Raises TypeError or ValueError for a wrong dtype or shape.
    """
    patch = _central_square(gray)
    cells = {"photograph": patch} | {name: method(patch) for name, method in METHODS.items()}
    rows = -(-len(cells) // COLUMNS)
    sheet = np.full((GAP + rows * (CELL + CAPTION + GAP), GAP + COLUMNS * (CELL + GAP)), 255, np.uint8)
    for number, (name, cell) in enumerate(cells.items()):
        row, column = divmod(number, COLUMNS)
        top, left = GAP + row * (CELL + CAPTION + GAP), GAP + column * (CELL + GAP)
        sheet[top : top + CELL, left : left + CELL][: cell.shape[0], : cell.shape[1]] = cell
        cv2.putText(sheet, name, (left, top + CELL + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return sheet


def _central_square(gray: np.ndarray) -> np.ndarray:
    side = min(gray.shape)
    top, left = (gray.shape[0] - side) // 2, (gray.shape[1] - side) // 2
    square = np.ascontiguousarray(gray[top : top + side, left : left + side])
    return cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA) if side > CELL else square
