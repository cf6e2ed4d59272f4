"""Running a job over a folder: progress, what is skipped and why, a full disk, Ctrl-C, and the exit code."""

import errno
import signal
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from utils.errors import UserError
from utils.folder_job import OVERVIEW, Done, FolderJob, Task, is_large
from utils.overlap import overlapped
from utils.overview import write_overview

GO_ON = "the same command with --skip-existing goes on"

Finished = list[tuple[Task, Done]]


def run_folder(tasks: list[Task], job: FolderJob, doing: str, report: Callable[[Finished], None]) -> int:
    """Do the tasks, one bad file costing only itself; print `report` of what is done and write OUT/overview.png.

    doing  what the progress bar says. Returns the exit code: 0 all done, 3 something was skipped.
    """
    done: Finished = []
    skipped, kept, full, start = [], 0, None, time.perf_counter()
    outcomes = overlapped(tasks, job.read, job.compute, job.write, is_large)
    try:
        for task, outcome in tqdm(outcomes, doing, len(tasks), unit="image"):
            if outcome is None:
                kept += 1
            elif isinstance(outcome, Done):
                done.append((task, outcome if len(done) < 8 else outcome._replace(pictures=[])))
            else:
                tqdm.write(f"skipped: {outcome}", file=sys.stderr)
                skipped.append(task.path)
                if full := getattr(outcome.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    break  # every further write would fail as well
    except KeyboardInterrupt:
        print(f"interrupted: {len(done) + kept} of {len(tasks)} done; {GO_ON}", file=sys.stderr)
        raise
    finally:
        outcomes.close()
    if done:
        report(done)
        print(f"{len(done)} done in {time.perf_counter() - start:.1f} s")
        try:
            write_overview(job.out / OVERVIEW, [outcome.pictures for _, outcome in done[:8]])
            print(f"see {job.out / OVERVIEW}")
        except UserError as error:
            print(f"no overview: {error}", file=sys.stderr)
    if kept:
        print(f"{kept} were done already")
    if full:
        print(f"stopped: {len(done) + kept} of {len(tasks)} done; make room, then {GO_ON}", file=sys.stderr)
    elif skipped:
        print(f"{len(skipped)} of {len(tasks)} skipped: {', '.join(path.name for path in skipped)}", file=sys.stderr)
    return 3 if skipped else 0


def exit_code(run: Callable[[], int]) -> int:
    """Call `run`; 2 after a UserError, which is printed in one line, 128 + n after signal n (Ctrl-C, SIGTERM)."""
    received = signal.SIGINT

    def stop(number, _frame):
        nonlocal received
        received = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + received
    finally:
        signal.signal(signal.SIGTERM, before)
