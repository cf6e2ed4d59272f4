"""The app.py command. The page itself is tested in tests/web/ and, in Chromium, in tests/browser/."""

import socket

import pytest

import app


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    """Restores GRADIO_TEMP_DIR, which the command changes, after each test."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))


def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path, checkpoint, capsys):
    assert app.main(["--port", "0", "--model", str(tmp_path / "none.pth.tar")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "none.pth.tar" in error and error.count("\n") == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--model", str(checkpoint), "--port", str(port)]) == 2
    assert str(port) in capsys.readouterr().err


def test_ctrl_c_during_start_up_exits_without_traceback(monkeypatch, capsys):
    def interrupted(args, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "build", interrupted)
    assert app.main(["--port", "0"]) == 0
    assert not capsys.readouterr().err


def test_every_tab_starts_with_a_result(tmp_path, checkpoint):
    page = app.build(app.parse(["--model", str(checkpoint), "--device", "cpu"]), tmp_path)
    results = [block.value for block in page.blocks.values() if 'class="viewer"' in str(getattr(block, "value", ""))]
    assert len(results) == 5
    assert {"astronaut.jpg", "text.png"} <= {path.name for path in (app.HERE / "test_imgs").iterdir()}
    assert len(list((tmp_path / "samples").glob("*_thumbnail.png"))) == 8 + 4 + 4 + 1
