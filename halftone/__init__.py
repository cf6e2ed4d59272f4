"""Classical halftoning: numpy arrays in, numpy arrays out. METHODS maps names to the methods for gray images."""

from halftone.compile_cache import ensure_compile_cache

ensure_compile_cache()  # before numba compiles anything

from halftone.methods import METHODS, Method  # noqa: E402

__all__ = ["METHODS", "Method"]
