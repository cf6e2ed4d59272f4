"""Folders of files: a folder in, a folder of results out."""

import halftone  # noqa: F401  sets the threads before torch loads
