"""Allowed imports between packages (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = {"utils", "images", "metrics", "halftone"}
ALLOWED = {
    "utils": set(),
    "halftone": set(),
    "images": {"utils"},
    "metrics": {"utils"},
    "dataset": {"utils", "images", "halftone"},
    "model": {"utils", "halftone"},
    "training": BASE | {"dataset"},
    "jobs": BASE | {"dataset"},
    "reshalf": BASE | {"dataset", "model", "training", "jobs"},
    "descreen": BASE | {"dataset", "model", "training", "jobs"},
    "web": BASE | {"dataset", "model", "training", "jobs", "reshalf", "descreen"},
}
COMMANDS = {"halftone/__main__.py"}
"""Entry scripts inside a package, which may import anything."""
OURS = {path.parent.name for path in ROOT.glob("*/*.py")} | {path.stem for path in ROOT.glob("*.py")}


def imported(path):
    """The first part of the name of every module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_packages_below_it(package):
    files = [path for path in (ROOT / package).glob("**/*.py") if path.relative_to(ROOT).as_posix() not in COMMANDS]
    assert files
    for path in files:
        above = set(imported(path)) & OURS - ALLOWED[package] - {package}
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_the_import_rules_have_no_cycles():
    for package, below in ALLOWED.items():
        assert package not in below
        for other in below:
            assert ALLOWED[other] <= below, f"{package} may import {other}, but not all that {other} does"


def test_the_halftone_library_uses_neither_torch_nor_image_files():
    for path in (ROOT / "halftone").glob("*.py"):
        if path.name != "__main__.py":
            assert not {"torch", "PIL"} & set(imported(path)), path.name
