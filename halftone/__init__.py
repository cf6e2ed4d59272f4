"""Classical halftoning: numpy arrays in, numpy arrays out. METHODS names every method for gray images."""

from halftone.methods import METHODS, Method

__all__ = ["METHODS", "Method"]
