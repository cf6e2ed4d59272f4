"""A page to try ResHalf on, served on this machine only: http://127.0.0.1:7860

    python app.py [--port PORT] [--model CKPT] [--max_pixels N] [--device DEVICE]

Nothing is fetched from outside or reported there; uploads and results are removed after an hour and at the end.
Exit code: 0 after Ctrl-C, 2 wrong usage, 143 terminated.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from utils.errors import UserError

HERE = Path(__file__).parent


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--port", type=int, default=7860, help="default: %(default)s; 0 takes a free one")
    add("--model", type=Path, help="checkpoint (default: the shipped)")
    add("--max_pixels", type=int, default=16_000_000, help="larger pictures are refused (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    return parser.parse_args(argv)


def build(args: argparse.Namespace, folder: Path):
    """The page, gr.Blocks, with everything it writes in `folder`. Raises UserError as ResHalfCodec does."""
    from images.files import MAX_PIXELS, list_images
    from reshalf import ResHalfCodec
    from web.actions import Tools
    from web.page import build_page
    from web.samples import make_halftones, make_samples, make_scans
    from web.scratch import Scratch

    made = folder / "samples"
    tools = Tools(ResHalfCodec(args.model, args.device), Scratch(made), MAX_PIXELS)
    photos = list_images(HERE / "test_imgs")
    few = photos[:4]
    samples = (
        make_samples(photos, made, tools.dither),
        make_samples(make_halftones(few, made, tools.codec.halftone), made, tools.restore),
        make_samples(make_scans(few, made), made, lambda path: tools.descreen(path, next(iter(tools.descreeners)))),
        make_samples(photos, made, lambda path: tools.classical(path, "ostromoukhov")),
    )
    # Limits are for visitors: the samples stay, of any size.
    tools.scratch, tools.max_pixels = Scratch(folder / "results"), args.max_pixels
    return build_page(tools, *samples)


def run(args: argparse.Namespace) -> int:
    from web.page import choose_port, serve

    port = choose_port(args.port)
    with tempfile.TemporaryDirectory(prefix="reshalf_") as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        print("starting …", flush=True)
        page = build(args, folder)
        serve(page, port, folder)
        try:
            print(f"ResHalf is at {page.local_url} (Ctrl-C ends it)", flush=True)
            signal.pause()
        finally:
            page.close(verbose=False)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C; the exit code."""
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while it starts, too
        return 0


if __name__ == "__main__":
    sys.exit(main())
