"""Layout of the page and its server, which accepts connections from this machine only and loads nothing remote."""

import socket
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from descreen.baselines import BASELINES
from halftone.methods import METHODS
from halftone.screens import SPOTS
from reshalf.sheet.page import PAPERS
from utils.errors import UserError
from web.actions import AS_TRAINED, DETECT, DPI, MAKE_SHEET, NETWORK, READ_SHEET, SCAN_FACTOR, Actions, Result
from web.samples import Sample
from web.scratch import LIFETIME
from web.viewer import notice, viewer

HERE = Path(__file__).parent
HOST = "127.0.0.1"
MAX_FILE = "100mb"
MAX_QUEUE = 16  # requests in the queue; further ones are refused
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)


class ContentSecurityPolicy:
    """ASGI middleware: a header that forbids browsers to load anything from other hosts."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self.app(scope, receive, with_policy)


def build_page(actions: Actions, *samples: list[Sample]) -> gr.Blocks:
    """Build the page. `samples`: one list for each of the five tabs; the first sample has its result already."""
    with gr.Blocks(title="ResHalf", analytics_enabled=False, delete_cache=(LIFETIME // 6, LIFETIME)) as page:
        gr.HTML(
            "<h1>ResHalf</h1><p>A colour photograph is converted into a black-and-white halftone with one bit per "
            "pixel, and restored in colour from the halftone alone.</p><p><small>Everything happens on this machine. "
            f"Images up to {actions.max_pixels / 1e6:g} megapixels and {MAX_FILE.upper().replace('MB', ' MB')}: "
            f"JPEG, PNG, WebP, TIFF, BMP, GIF, PNM; scans of sheets up to {SCAN_FACTOR * actions.max_pixels / 1e6:g} "
            "megapixels. Results are deleted after an hour.</small></p>",
            elem_id="head",
        )
        with gr.Tab("Halftone"):
            _dither_tab(actions, samples[0])
        with gr.Tab("Restore"):
            _restore_tab(actions, samples[1])
        with gr.Tab("Descreen"):
            _descreen_tab(actions, samples[2])
        with gr.Tab("Classical"):
            _classical_tab(actions, samples[3])
        with gr.Tab("Paper"):
            _paper_tab(actions, samples[4])
    return page.queue(max_size=MAX_QUEUE, default_concurrency_limit=1, api_open=False)


def _dither_tab(actions: Actions, samples: list[Sample]) -> None:
    def options() -> list:
        return [_choice(actions.encoders, "Halftone by")]

    _tab("photograph", "Halftone and restore", samples, options, actions.dither)


def _choice(choices: dict, label: str) -> gr.Radio:
    return gr.Radio(list(choices), value=AS_TRAINED, label=label, visible=len(choices) > 1)


def _restore_tab(actions: Actions, samples: list[Sample]) -> None:
    def options() -> list:
        return [
            gr.Checkbox(label="Also restore images that are not halftones"),
            gr.Checkbox(label="Swap black and white (done by itself where certain)"),
            _choice(actions.decoders, "Halftone made by"),
        ]

    _tab("halftone", "Restore colours", samples, options, actions.restore)


def _descreen_tab(actions: Actions, samples: list[Sample]) -> None:
    names = list(actions.descreeners)

    def options() -> list:
        if NETWORK not in names:
            gr.Markdown(
                "The trained descreening network (`checkpoints/descreen_scans.pth.tar`) is missing; the methods below "
                "need no training."
            )
        return [
            gr.Dropdown(names, value=names[0], label="Descreen with"),
            gr.Slider(0.25, 3, 1, step=0.25, label=f"Strength of {', '.join(BASELINES)}"),
            gr.Checkbox(True, label="New screen with the pitch and angles of the scan"),
            gr.Slider(2, 16, 6, step=0.5, label="Otherwise: pitch of the new screen, in pixels"),
            gr.Dropdown(list(SPOTS), value="round", label="Dot shape of the new screen"),
        ]

    def work(path, method, strength, own, pitch, dot, progress):
        return actions.descreen(path, method, strength, None if own else pitch, dot, progress)

    _tab("scan", "Descreen and rescreen", samples, options, work)


def _classical_tab(actions: Actions, samples: list[Sample]) -> None:
    def options() -> list:
        methods = [(f"{name} ({method.family})", name) for name, method in METHODS.items()]
        return [
            gr.Dropdown(methods, value="ostromoukhov", label=f"Method, one of {len(methods)}"),
            gr.Checkbox(label="Halftone in linear light instead of sRGB"),
        ]

    _tab("photograph", "Dither", samples, options, actions.classical)


def _paper_tab(actions: Actions, samples: list[Sample]) -> None:
    def options() -> list:
        gr.Markdown(
            "A photograph becomes a page that prints its halftone with markers. A scan or a phone photograph of the "
            "printed page becomes the colour photograph again."
        )
        return [
            gr.Radio([DETECT, MAKE_SHEET, READ_SHEET], value=DETECT, label="What to do"),
            gr.Radio(list(PAPERS), value=next(iter(PAPERS)), label="Paper"),
            gr.Slider(3, 16, 6, step=1, label=f"Printer dots along a pixel's side, at {DPI} dpi"),
            gr.Checkbox(True, label="Shrink large photographs to one sheet"),
        ]

    _tab("photograph or scan", "Make or read a sheet", samples, options, actions.sheet)


def _tab(kind: str, action: str, samples: list[Sample], make_options: Callable[[], list], work: Callable) -> None:
    """A tab with file upload, samples, options and a button on the left, and the result on the right.

    work  called with the path of the file, the values of the options and `progress`
    """
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label=f"Your {kind}", file_types=["image"], height=140)
            gallery = gr.Gallery(
                [(str(sample.thumbnail), sample.name) for sample in samples],
                label="Samples",
                columns=4,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_classes="samples",
            )
            options = make_options()
            button = gr.Button(action, variant="primary")
        with gr.Column(scale=2, min_width=320):
            result = gr.HTML(viewer(samples[0].result))

    def run(path: str | None, *values, progress=gr.Progress()):  # noqa: B008 (gradio injects it there)
        return show(path, kind, lambda: work(path, *values, progress=lambda share, step: progress(share, desc=step)))

    def pick(event: gr.SelectData) -> str:
        return str(samples[event.index].path)

    gr.on([file.upload, button.click], run, [file, *options], result, concurrency_id="work", show_progress_on=result)
    gallery.select(pick, None, file).then(run, [file, *options], result, concurrency_id="work", show_progress_on=result)


def show(path: str | None, kind: str, work: Callable[[], Result]) -> str:
    """The HTML of the result of `work`, or of its error; without a file, an instruction."""
    if path is None:
        return notice(f"Drop a {kind} on the left, or choose one of the samples.")
    try:
        return viewer(work())
    except UserError as error:
        return notice(str(error), alert=True)


def serve(page: gr.Blocks, port: int, folder: Path) -> None:
    """Serve the page at http://127.0.0.1:PORT in a background thread; only files in `folder` are served."""
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
        app_kwargs={"middleware": [Middleware(ContentSecurityPolicy)]},
    )


def choose_port(port: int) -> int:
    """Returns `port` if it is free, any free port for 0. Raises UserError if the port cannot be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "allowed: 0 to 65535"
            raise UserError(f"port {port} cannot be used: {reason}; choose another with --port") from None
        return probe.getsockname()[1]
