"""The page: its tabs, wired to the tools. Its address is this machine's alone, and it loads nothing from others."""

import socket
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from descreen.baselines import BASELINES
from halftone.methods import METHODS
from halftone.screens import SPOTS
from utils.errors import UserError
from web.actions import AS_TRAINED, NETWORK, Shown, Tools
from web.samples import Sample
from web.scratch import KEPT
from web.viewer import notice, viewer

HERE = Path(__file__).parent
HOST = "127.0.0.1"
MAX_FILE = "100mb"
WAITING = 16  # visitors in the queue; more are told to try again later
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)


class OnlyFromHere:
    """Forbids browsers to load anything from other hosts, whatever a library of the page would like."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self.app(scope, receive, with_policy)


def build_page(tools: Tools, *samples: list[Sample]) -> gr.Blocks:
    """The whole page. `samples` are what each of its four tabs offers to begin with, the first of them done already."""
    with gr.Blocks(title="ResHalf", analytics_enabled=False, delete_cache=(KEPT // 6, KEPT)) as page:
        gr.HTML(
            "<h1>ResHalf</h1><p>A colour photograph becomes a black-and-white halftone, one bit per pixel, and comes "
            "back in colour from those bits alone.</p><p><small>Everything happens on this machine. Pictures up to "
            f"{tools.max_pixels / 1e6:g} megapixels and {MAX_FILE.upper().replace('MB', ' MB')}: JPEG, PNG, WebP, "
            "TIFF, BMP, GIF. Results are kept for an hour.</small></p>",
            elem_id="head",
        )
        with gr.Tab("Halftone"):
            _dither_tab(tools, samples[0])
        with gr.Tab("Restore"):
            _restore_tab(tools, samples[1])
        with gr.Tab("Descreen"):
            _descreen_tab(tools, samples[2])
        with gr.Tab("Classical"):
            _classical_tab(tools, samples[3])
    return page.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)


def _dither_tab(tools: Tools, samples: list[Sample]) -> None:
    def options() -> list:
        searches = list(tools.searches)
        return [gr.Radio(searches, value=AS_TRAINED, label="Halftone search", visible=len(searches) > 1)]

    _tab("photograph", "Halftone and restore", samples, options, tools.dither)


def _restore_tab(tools: Tools, samples: list[Sample]) -> None:
    def options() -> list:
        return [gr.Checkbox(label="Also pictures that are no halftones")]

    _tab("halftone", "Restore the colours", samples, options, tools.restore)


def _descreen_tab(tools: Tools, samples: list[Sample]) -> None:
    names = list(tools.descreeners)

    def options() -> list:
        if NETWORK not in names:
            gr.Markdown(
                "No trained descreening network is installed (`checkpoints/descreen_best.pth.tar`); these methods "
                "work without learning."
            )
        return [
            gr.Dropdown(names, value=names[0], label="Descreen with"),
            gr.Slider(0.25, 3, 1, step=0.25, label=f"Strength of {', '.join(BASELINES)}"),
            gr.Checkbox(True, label="New screen at the scan's own pitch and angles"),
            gr.Slider(2, 16, 6, step=0.5, label="Otherwise, pitch in pixels"),
            gr.Dropdown(list(SPOTS), value="round", label="Dots of the new screen"),
        ]

    def work(path, method, strength, own, pitch, dot, tell):
        return tools.descreen(path, method, strength, None if own else pitch, dot, tell)

    _tab("scan", "Descreen and rescreen", samples, options, work)


def _classical_tab(tools: Tools, samples: list[Sample]) -> None:
    def options() -> list:
        methods = [(f"{name} ({method.family})", name) for name, method in METHODS.items()]
        return [
            gr.Dropdown(methods, value="ostromoukhov", label=f"Method, one of {len(methods)}"),
            gr.Checkbox(label="Halftone the light, not the sRGB levels"),
        ]

    _tab("photograph", "Dither", samples, options, tools.classical)


def _tab(kind: str, doing: str, samples: list[Sample], make_options: Callable[[], list], work: Callable) -> None:
    """A file, samples, options and a button on one side, the result on the other.

    work  takes the file's path, the options' values and `tell`
    """
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label=f"Your {kind}", file_types=["image"], height=140)
            gallery = gr.Gallery(
                [(str(sample.thumbnail), sample.name) for sample in samples],
                label="or one of these",
                columns=4,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_classes="samples",
            )
            options = make_options()
            button = gr.Button(doing, variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = gr.HTML(viewer(samples[0].done))

    def run(path: str | None, *values, progress=gr.Progress()):  # noqa: B008 (gradio finds it there)
        return show(path, kind, lambda: work(path, *values, tell=lambda share, doing: progress(share, desc=doing)))

    def pick(event: gr.SelectData) -> str:
        return str(samples[event.index].path)

    gr.on([file.upload, button.click], run, [file, *options], result, concurrency_id="work", show_progress_on=result)
    gallery.select(pick, None, file).then(run, [file, *options], result, concurrency_id="work", show_progress_on=result)


def show(path: str | None, kind: str, work: Callable[[], Shown]) -> str:
    """The HTML of what `work` makes of the file, or of why it cannot."""
    if path is None:
        return notice(f"Drop a {kind} on the left, or take one of the samples.")
    try:
        return viewer(work())
    except UserError as error:
        return notice(str(error), alert=True)


def serve(page: gr.Blocks, port: int, folder: Path) -> None:
    """Serve the page at http://127.0.0.1:PORT, beside the caller; `folder` holds its pictures."""
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        allowed_paths=[str(folder)],
        max_file_size=MAX_FILE,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css_paths=HERE / "page.css",
        head=f"<script>{(HERE / 'viewer.js').read_text()}</script>",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        app_kwargs={"middleware": [Middleware(OnlyFromHere)]},
    )


def choose_port(wanted: int) -> int:
    """`wanted` if it is free, any free port for 0. Raises UserError where it cannot be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "allowed: 0 to 65535"
            raise UserError(f"port {wanted} cannot be used: {reason}; choose another with --port") from None
        return probe.getsockname()[1]
