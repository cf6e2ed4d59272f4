import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def stand_in():
    """The module stand_in.py beside this file."""
    spec = importlib.util.spec_from_file_location("stand_in", Path(__file__).with_name("stand_in.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
