"""Links of the documentation, the list of files in CONTRIBUTING.md, and what the shipped checkpoints name."""

import re
from pathlib import Path
from urllib.parse import unquote

from utils.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[1]
PAGES = [path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def anchors(page):
    """The anchors that GitHub derives from the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_relative_links_lead_to_existing_files_and_headings():
    followed = 0
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)  # code has no links
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http:", "https:")):
                continue
            file, _, anchor = unquote(target).partition("#")
            goal = (page.parent / file) if file else page
            assert goal.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(goal), f"{page.name}: {target}"
            followed += 1
    assert followed > 10


def test_the_readme_links_every_page_of_docs():
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text())
    assert {f"docs/{page.name}" for page in (ROOT / "docs").iterdir()} <= set(links)


def test_the_readme_has_at_most_200_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_contributing_lists_every_python_file_outside_tests():
    listing = (ROOT / "CONTRIBUTING.md").read_text().partition("```text")[2].partition("```")[0]
    listed, package = set(), ""
    for line in listing.splitlines():
        name = re.match(r"( *)([\w/.]+)", line)
        if name and name[2].endswith("/"):
            package = name[2]
        elif name and name[2].endswith(".py"):
            listed.add(package * bool(name[1]) + name[2])
    files = {path.relative_to(ROOT) for pattern in ("*.py", "*/*.py", "*/*/*.py") for path in ROOT.glob(pattern)}
    assert listed == {file.as_posix() for file in files if file.parts[0] != "tests" and file.parts[0][0] != "."}


def test_shipped_checkpoints_name_no_folder_of_the_machine_that_trained_them():
    paths = sorted(ROOT.glob("checkpoints/*.pth.tar"))
    assert paths
    for path in paths:
        config = read_checkpoint(path).get("config") or {}
        assert [key for key, value in config.items() if isinstance(value, str) and value.startswith("/")] == [], path
