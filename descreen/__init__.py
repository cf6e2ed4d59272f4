"""Descreening and rescreening: printed or screened images to continuous tone and back (Kim & Park, SIGGRAPH 2018)."""
