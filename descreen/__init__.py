"""Descreening and rescreening: printed or screened pictures to continuous tone and back (Kim & Park, SIGGRAPH 2018)."""
