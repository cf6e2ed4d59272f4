"""Descreening and rescreening: printed or screened images to continuous tone and back (Kim & Park, SIGGRAPH 2018)."""

import halftone  # noqa: F401  sets the threads before torch loads
