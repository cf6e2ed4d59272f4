"""Print halftones that hold their colours, and get the colours back from a scan or a photograph of the print.

    python -m reshalf.sheet make --data_dir PHOTOS_OR_HALFTONES --save_dir SHEETS [--paper a4] [--dpi 600] [--cell 6]
    python -m reshalf.sheet read --data_dir SCANS --save_dir BACK

make writes SHEETS/pdf/NAME.pdf, to be printed at 100 %, and the same pages as SHEETS/png/NAME.png. read writes
BACK/halftone/NAME.png and BACK/restored/NAME.png, and for pictures on several sheets NAME_joined.png.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import argparse
import sys
from pathlib import Path

from images.transparency import BACKGROUND_HELP, WHITE
from jobs.flags import add_job_flags
from jobs.manifest import Manifest
from jobs.run import run_folder
from jobs.tasks import HALFTONES, RESTORED, plan_tasks
from reshalf import SHIPPED, ResHalfCodec
from reshalf.sheet.make_job import INPUTS, PDF, PNG, MakeJob
from reshalf.sheet.page import MAX_CELL, PAPERS, PageFormat
from reshalf.sheet.read_job import ReadJob
from utils.colour import parse_colour
from utils.command import exit_code
from utils.errors import UserError, printable
from utils.files import checksum_or_empty

DPI_RANGE = (100, 4800)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reshalf.sheet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="photographs or halftones → pages to print")
    read = commands.add_parser("read", help="scans or photographs of the pages → halftones and restored photographs")
    for command, inputs in ((make, "photographs or halftones"), (read, "scans or photographs of sheets")):
        add = command.add_argument
        add("--data_dir", type=Path, required=True, help=f"{inputs}; a folder or a file")
        add("--save_dir", type=Path, required=True, help="output folder")
        add("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped one)")
        add_job_flags(command)
    add = make.add_argument
    add("--paper", choices=list(PAPERS), default="a4", help="default: %(default)s")
    add("--dpi", type=int, default=600, help="of the printer (default: %(default)s)")
    add("--cell", type=int, default=6, help="printer dots along a pixel's side (default: %(default)s)")
    add("--input", choices=INPUTS, default=INPUTS[0], help="what the inputs are (default: detected for each)")
    add("--one_sheet", action="store_true", help="shrink photographs that would need several sheets")
    add("--background", type=parse_colour, metavar="COLOUR", help=BACKGROUND_HELP)
    return parser.parse_args(argv)


def run_make(args: argparse.Namespace) -> int:
    """Make sheets; returns the exit code. Raises UserError for wrong usage."""
    for flag, value, (least, most) in (("cell", args.cell, (2, MAX_CELL)), ("dpi", args.dpi, DPI_RANGE)):
        if not least <= value <= most:
            raise UserError(f"--{flag} {value}: allowed: {least} to {most}")
    PageFormat(args.paper, args.dpi, args.cell).check()
    folders = {PDF: ".pdf", PNG: ".png"}
    plan = plan_tasks(args.data_dir, args.save_dir, args.recursive, folders)
    choices = {name: getattr(args, name) for name in ("paper", "dpi", "cell", "one_sheet")}
    made_by = {"checkpoint": checksum_or_empty(args.model), "input": args.input, **choices}
    if args.background:
        made_by["background"] = list(args.background)
    job = MakeJob(
        manifest=Manifest(args.save_dir, made_by),
        folders=folders,
        title="making sheets",
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        background=args.background or WHITE,
        codec=ResHalfCodec(args.model, args.device),
        kind=args.input,
        **choices,
    )
    return run_folder(plan, job)


def run_read(args: argparse.Namespace) -> int:
    """Read scans; returns the exit code. Raises UserError for wrong usage."""
    folders = {HALFTONES: ".png", RESTORED: ".png"}
    plan = plan_tasks(args.data_dir, args.save_dir, args.recursive, folders)
    job = ReadJob(
        manifest=Manifest(args.save_dir, {"checkpoint": checksum_or_empty(args.model), "sheet": True}),
        folders=folders,
        title="reading sheets",
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        codec=ResHalfCodec(args.model, args.device),
    )
    code = run_folder(plan, job)
    incomplete = job.join()
    for line in job.lost:
        print(printable(line), file=sys.stderr)
    return 3 if incomplete or job.lost else code


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""

    def run() -> int:
        args = parse(argv)
        return run_make(args) if args.command == "make" else run_read(args)

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
