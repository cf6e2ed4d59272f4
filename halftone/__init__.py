"""Classical halftoning: numpy arrays in, numpy arrays out. METHODS maps names to the methods for gray images."""

import halftone.threads  # noqa: F401  before numba and torch load

# isort: split

from halftone.allocator import reuse_freed_memory
from halftone.compile_cache import ensure_compile_cache

reuse_freed_memory()
ensure_compile_cache()  # before numba compiles anything

from halftone.methods import METHODS, Method  # noqa: E402

__all__ = ["METHODS", "Method"]
