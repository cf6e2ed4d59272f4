"""The page in Chromium, run by `make test-browser`. Not part of the ordinary suite, which needs no browser."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import cv2
import numpy as np
import pytest

from images.files import read_halftone, read_image

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "test_imgs/chelsea.png"
TABS = ("Halftone", "Restore", "Descreen", "Classical", "Paper")
LIMIT = 400_000  # pixels
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = pytest.mark.browser
on_both_screens = pytest.mark.parametrize("page", [WIDE, NARROW], indirect=True, ids=["wide", "narrow"])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """URL of the page served by app.py; checks that the server exits on SIGTERM and removes its temporary files."""
    folder = tmp_path_factory.mktemp("served")
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "--port", "0", "--max_pixels", str(LIMIT)],
        stdout=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    lines = [server.stdout.readline(), server.stdout.readline()]
    found = re.search(r"http://127\.0\.0\.1:\d+", lines[1])
    assert found, lines
    yield found[0]
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 143
    assert not list(folder.glob("reshalf_*")), "temporary files are removed"


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "no Chromium found; install it with tests/browser/install.sh"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(request, chromium, address):
    """The page in a new browser context; checks that it requested no other host and logged no error."""
    context = chromium.new_context(viewport=getattr(request, "param", WIDE))
    page = context.new_page()
    hosts, errors = set(), []
    page.on("request", lambda sent: hosts.add(urlparse(sent.url).hostname))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(address)
    page.locator(".viewer:visible").wait_for()
    yield page
    context.close()
    assert hosts <= {"127.0.0.1", None} and not errors


def open_tab(page, name: str) -> None:
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.get_by_role("button", name="More tabs").click()
        tab = page.get_by_role("button", name=name, exact=True)
    tab.click()
    page.locator(".viewer:visible, .notice:visible").first.wait_for()


def upload(page, path: Path) -> None:
    if page.get_by_label("Clear").locator("visible=true").count():
        page.get_by_label("Clear").locator("visible=true").click()
    page.locator(".tabitem:visible input[type=file]").set_input_files(path)


def download(page, name: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(f"a.download[download='{name}']:visible").click()
    waiting.value.save_as(folder / name)
    return folder / name


def alert(page) -> str:
    line = page.get_by_role("alert").locator("visible=true")
    line.wait_for()
    return line.inner_text()


@on_both_screens
def test_a_downloaded_halftone_restores_to_the_same_photograph(page, tmp_path):
    upload(page, PHOTO)
    path = download(page, "chelsea_halftone.png", tmp_path)
    assert path.read_bytes()[24:26] == b"\1\0", "one bit, gray"
    photo = read_image(PHOTO).bgr
    assert read_halftone(path).shape == photo.shape[:2]
    assert float(page.locator(".values:visible dd").first.inner_text().removesuffix(" dB")) > 20
    restored = read_image(download(page, "chelsea_restored.png", tmp_path)).bgr
    open_tab(page, "Restore")
    upload(page, path)
    restored_again = read_image(download(page, "chelsea_halftone_restored.png", tmp_path)).bgr
    np.testing.assert_array_equal(restored_again, restored)
    assert cv2.norm(restored_again, photo) / photo.size**0.5 < 25


def test_unreadable_files_show_a_line_and_the_page_still_works(page, tmp_path):
    torn, large = tmp_path / "torn.png", tmp_path / "large.png"
    torn.write_bytes(PHOTO.read_bytes()[:3000])
    cv2.imwrite(str(large), np.zeros((700, 700), np.uint8))
    upload(page, torn)
    assert alert(page).startswith("torn.png: truncated")
    upload(page, large)
    page.get_by_text("large.png: 700 x 700").wait_for()
    open_tab(page, "Restore")
    upload(page, PHOTO)
    assert alert(page).startswith("chelsea.png: not a halftone")
    open_tab(page, "Halftone")
    page.locator(".samples button:visible").nth(4).click()
    page.locator("a.download[download='flower_halftone.png']:visible").wait_for()


@on_both_screens
def test_every_tab_fits_the_screen_and_starts_with_a_result(page):
    for name in TABS:
        open_tab(page, name)
        assert page.locator(".viewer:visible").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        loaded = "[...document.querySelectorAll('.layer')].every(img => img.complete && img.naturalWidth)"
        page.wait_for_function(loaded)


def test_descreen_and_classical_tabs_offer_downloads_and_remarks(page, tmp_path):
    open_tab(page, "Descreen")
    page.locator(".samples button:visible").nth(1).click()
    screened = read_image(download(page, "chelsea_printed_new_screen.png", tmp_path)).bgr
    assert screened.shape == read_image(PHOTO).bgr.shape
    assert "4.5" in page.locator(".remark:visible").inner_text()
    open_tab(page, "Classical")
    page.get_by_label(re.compile("Method, one of")).click()
    page.get_by_role("option", name=re.compile("^bayer_4 ")).click()
    upload(page, PHOTO)
    assert len(np.unique(read_halftone(download(page, "chelsea_halftone.png", tmp_path)))) == 2
    assert "Bayer" in page.locator(".remark:visible").inner_text()


def test_every_control_works_from_the_keyboard(page):
    def style(selector: str, name: str) -> float:
        return float(page.locator(f"{selector}:visible").first.evaluate(f"e => e.style.getPropertyValue('--{name}')"))

    page.locator(".compare input:visible").focus()
    page.keyboard.press("Home")
    assert style(".compare", "at") == 0
    page.keyboard.press("ArrowRight")
    assert style(".compare", "at") > 0
    page.locator(".zoom:visible").focus()
    page.keyboard.press("End")
    assert style(".detail", "zoom") == 12
    page.locator(".pane:visible").first.focus()
    before = style(".detail", "x"), style(".detail", "y")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert style(".detail", "x") > before[0] and style(".detail", "y") > before[1]
    page.locator(".pairs input:visible").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".compare:visible .tag.left").inner_text() == "photograph"
    page.locator(".samples button:visible").nth(1).focus()
    page.keyboard.press("Enter")
    page.locator("a.download[download='chelsea_halftone.png']:visible").wait_for()
