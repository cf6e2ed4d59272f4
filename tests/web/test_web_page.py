"""The page as served: to this machine only, files of its own folder only, no other hosts."""

import http.client
import os
import socket
from urllib.parse import urlparse

import numpy as np
import pytest

from images.files import write_image
from reshalf import ResHalfCodec
from utils.errors import UserError
from web.actions import Actions, Result
from web.page import build_page, choose_port, serve, show
from web.samples import make_samples
from web.scratch import Scratch
from web.viewer import viewer


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    """The running page: its URL, its folder, and all addresses that the process has connected to."""
    folder = tmp_path_factory.mktemp("page").resolve()
    addresses = []

    def connect(self, address, original=socket.socket.connect):
        addresses.append(address)
        return original(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setitem(os.environ, "GRADIO_TEMP_DIR", str(folder / "uploads"))
        actions = Actions(ResHalfCodec(checkpoint, "cpu"), Scratch(folder / "results"), 10**6)
        photo = folder / "results/sample.png"
        write_image(photo, np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8))
        page = build_page(actions, *[make_samples([photo], folder / "results", actions.dither)] * 5)
        serve(page, choose_port(0), folder / "results")
        yield urlparse(page.local_url), folder, addresses
        page.close(verbose=False)


def get(address, path: str, method: str = "GET", body: bytes | None = None, headers=None):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.getheaders(), response.read()


def test_the_security_policy_forbids_loading_from_other_hosts(served):
    status, headers, body = get(served[0], "/")
    policy = dict(headers)["content-security-policy"]
    assert status == 200 and b"ResHalf" in body
    assert policy.startswith("default-src 'self'") and "http" not in policy and "*" not in policy


def test_the_server_connects_to_no_other_host(served):
    get(served[0], "/config")
    assert served[2], "connections of the start-up are recorded"
    assert {address[0] for address in served[2]} <= {"127.0.0.1", "localhost", "::1"}


def test_only_files_of_the_results_folder_are_served(served):
    address, folder, _ = served
    assert get(address, f"/gradio_api/file={folder}/results/sample.png")[0] == 200
    (folder / "secret.txt").write_text("private")
    assert get(address, f"/gradio_api/file={folder}/secret.txt")[0] in (403, 404)
    assert get(address, f"/gradio_api/file={folder}/results/../secret.txt")[0] in (403, 404)


def test_uploads_above_the_size_limit_are_refused(served):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for megabytes, expected in ((1, 200), (101, 413)):
        body = head + bytes(megabytes << 20) + b"\r\n--x--\r\n"
        assert get(served[0], "/gradio_api/upload", "POST", body, headers)[0] == expected


def test_an_unusable_port_raises_an_error_that_names_it(served):
    for port in (served[0].port, 65536, -1):
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            choose_port(port)


def test_a_missing_and_an_unreadable_file_show_a_line_instead_of_a_result():
    assert "Drop a scan" in show(None, "scan", lambda: pytest.fail("called without a file"))

    def refuse():
        raise UserError("<b>.png: not an image")

    line = show("x.png", "scan", refuse)
    assert 'role="alert"' in line and "&lt;b&gt;.png: not an image" in line


def test_file_names_are_escaped_in_the_html(tmp_path):
    path = tmp_path / "a'b\"><script>(1).png"
    html = viewer(Result((4, 6), {"halftone": path, "restored": path}, [("halftone", "restored")], {}, {"x": path}))
    assert "<script" not in html and html.count("a%27b%22%3E%3Cscript%3E%281%29.png") == 5
