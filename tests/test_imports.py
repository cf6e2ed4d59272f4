"""Who may import whom (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PURE = {"utils.dct", "utils.filters", "utils.pixels", "utils.processor", "utils.windows"}
PACKAGES = {"halftone", "utils", "model", "descreen", "dataset", "web", "figures", "scripts", "bench"}
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
ALLOWED = {
    "halftone": {"halftone"},
    "utils": {"utils", "halftone"},
    "model": {"model", "halftone", *PURE},
    "descreen": {"descreen", "model", "utils", "halftone"},
    "web": {"web", "descreen", "model", "utils", "halftone", "reshalf"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package):
    files = [path for path in (ROOT / package).glob("*.py") if path.name != "__main__.py"]
    assert files
    for path in files:
        ours = [name for name in imported(path) if name.split(".")[0] in PACKAGES | SCRIPTS]
        for name in ours:
            parents = {name.rsplit(".", cut)[0] for cut in range(name.count(".") + 1)}
            assert parents & ALLOWED[package], f"{path.relative_to(ROOT)} imports {name}"


def test_the_halftone_library_knows_no_torch_and_reads_no_files():
    for path in (ROOT / "halftone").glob("*.py"):
        if path.name != "__main__.py":
            assert not [name for name in imported(path) if name.split(".")[0] in ("torch", "PIL")], path.name
