"""The page as it is served: to this machine only, of its own files only, reporting to nobody."""

import http.client
import os
import socket
from urllib.parse import urlparse

import numpy as np
import pytest

from images.files import write_image
from reshalf import ResHalfCodec
from utils.errors import UserError
from web.actions import Shown, Tools
from web.page import build_page, choose_port, serve, show
from web.samples import make_samples
from web.scratch import Scratch
from web.viewer import viewer


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    """The page at work: its address, its folder, and all addresses that were connected to since before it was made."""
    folder = tmp_path_factory.mktemp("page").resolve()
    connected = []

    def connect(self, address, plain=socket.socket.connect):
        connected.append(address)
        return plain(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setitem(os.environ, "GRADIO_TEMP_DIR", str(folder / "uploads"))
        tools = Tools(ResHalfCodec(checkpoint, "cpu"), Scratch(folder / "results"), 10**6)
        photo = folder / "results/sample.png"
        write_image(photo, np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8))
        page = build_page(tools, *[make_samples([photo], folder / "results", tools.dither)] * 4)
        serve(page, choose_port(0), folder / "results")
        yield urlparse(page.local_url), folder, connected
        page.close(verbose=False)


def get(address, path: str, method: str = "GET", body: bytes | None = None, headers=None):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.getheaders(), answer.read()


def test_browsers_are_told_to_load_nothing_from_elsewhere(served):
    status, headers, body = get(served[0], "/")
    policy = dict(headers)["content-security-policy"]
    assert status == 200 and b"ResHalf" in body
    assert policy.startswith("default-src 'self'") and "http" not in policy and "*" not in policy


def test_nothing_but_this_machine_is_connected_to(served):
    get(served[0], "/config")
    assert served[2], "the page's own start is seen"
    assert {address[0] for address in served[2]} <= {"127.0.0.1", "localhost", "::1"}


def test_results_are_served_and_other_files_are_not(served):
    address, folder, _ = served
    assert get(address, f"/gradio_api/file={folder}/results/sample.png")[0] == 200
    (folder / "secret.txt").write_text("mine")
    assert get(address, f"/gradio_api/file={folder}/secret.txt")[0] in (403, 404)
    assert get(address, f"/gradio_api/file={folder}/results/../secret.txt")[0] in (403, 404)


def test_files_over_the_stated_limit_are_refused(served):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for megabytes, wanted in ((1, 200), (101, 413)):
        body = head + bytes(megabytes << 20) + b"\r\n--x--\r\n"
        assert get(served[0], "/gradio_api/upload", "POST", body, headers)[0] == wanted


def test_a_port_that_cannot_be_had_is_named(served):
    for port in (served[0].port, 65536, -1):
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            choose_port(port)


def test_no_file_and_a_bad_file_are_lines_in_place_of_a_result():
    assert "Drop a scan" in show(None, "scan", lambda: pytest.fail("nothing to work on"))

    def refuse():
        raise UserError("<b>.png: not an image")

    line = show("x.png", "scan", refuse)
    assert 'role="alert"' in line and "&lt;b&gt;.png: not an image" in line


def test_names_of_files_are_text_and_nothing_else(tmp_path):
    path = tmp_path / "a'b\"><script>(1).png"
    html = viewer(Shown((4, 6), {"halftone": path, "restored": path}, [("halftone", "restored")], {}, {"x": path}))
    assert "<script" not in html and html.count("a%27b%22%3E%3Cscript%3E%281%29.png") == 5
