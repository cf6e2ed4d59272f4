"""Serve the web page of ResHalf on this machine only: http://127.0.0.1:7860

    python app.py [--port PORT] [--model CKPT] [--max_pixels N] [--device DEVICE]

The page sends nothing to other hosts and loads nothing from them. Uploads and results are deleted after an hour and
when the server stops.
Exit code: 0 after Ctrl-C, 2 wrong usage, 143 terminated.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from utils.command import exit_code

HERE = Path(__file__).parent


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--port", type=int, default=7860, help="default: %(default)s; 0 selects a free one")
    add("--model", type=Path, help="checkpoint (default: the shipped one)")
    add("--max_pixels", type=int, default=16_000_000, help="larger images are refused (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    return parser.parse_args(argv)


def build(args: argparse.Namespace, folder: Path):
    """The page, a gr.Blocks that writes its files into `folder`. Raises UserError as ResHalfCodec does."""
    from images.files import MAX_PIXELS
    from images.listing import list_images
    from reshalf import PAPER, ResHalfCodec
    from web.actions import Actions
    from web.page import build_page
    from web.samples import make_halftones, make_page_photos, make_samples, make_scans
    from web.scratch import Scratch

    samples_folder = folder / "samples"
    paper = ResHalfCodec(PAPER, args.device) if args.model is None else None
    actions = Actions(ResHalfCodec(args.model, args.device), Scratch(samples_folder), MAX_PIXELS, paper)
    photos = list_images(HERE / "test_imgs")
    halftones = make_halftones(photos[:4], samples_folder, actions.codec.halftone)
    scans = make_scans(photos[:4], samples_folder)
    on_paper = make_page_photos(photos[3:4], samples_folder, actions.codec.halftone)
    samples = (
        make_samples(photos, samples_folder, actions.dither),
        make_samples(halftones, samples_folder, actions.restore),
        make_samples(scans, samples_folder, lambda path: actions.descreen(path, next(iter(actions.descreeners)))),
        make_samples(photos, samples_folder, lambda path: actions.classical(path, "ostromoukhov")),
        make_samples([*on_paper, *photos[:3]], samples_folder, actions.sheet),
    )
    # The size limit holds for uploads only, and the samples are never deleted.
    actions.scratch, actions.max_pixels = Scratch(folder / "results"), args.max_pixels
    return build_page(actions, *samples)


def run(args: argparse.Namespace) -> int:
    """Build the page and serve it until a signal arrives."""
    from web.page import choose_port, serve

    port = choose_port(args.port)
    with tempfile.TemporaryDirectory(prefix="reshalf_") as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        print("starting …", flush=True)
        page = build(args, folder)
        serve(page, port, folder)
        try:
            print(f"ResHalf runs at {page.local_url} (press Ctrl-C to stop)", flush=True)
            signal.pause()
        finally:
            page.close(verbose=False)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C, the regular end; returns the exit code."""
    code = exit_code(lambda: run(parse(argv)))
    return 0 if code == 128 + signal.SIGINT else code


if __name__ == "__main__":
    sys.exit(main())
