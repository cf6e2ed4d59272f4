"""Running a job over a folder: the loop, and the summary printed at the end."""

import errno
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from images.overview import write_overview
from jobs.job import Job
from jobs.manifest import FileResult
from jobs.pipeline import pipelined
from jobs.shards import Outcome, Shard, combined_outcome
from jobs.tasks import OVERVIEW, Plan, Task
from utils.command import ignore_broken_pipe
from utils.errors import UserError, printable
from utils.files import check_writable, remove_leftovers
from utils.progress import print_above, progress

OVERVIEW_ROWS = 8
CONTINUE = "run the same command with --skip_existing to continue"
SINGLE = Shard()


def run_folder(plan: Plan, job: Job, shard: Shard = SINGLE) -> int:
    """Process this shard's tasks, skipping bad files; returns the exit code: 0 all done, 3 some were not processed.

    The last shard prints the table of all finished tasks and writes OUT/overview.png. Temporary files of killed runs
    are removed from the output folders.
    """
    out, tasks, mine = job.manifest.folder, plan.tasks, shard.of(plan.tasks)
    check_writable(out)
    if shard.index == 0:
        plan.print_remarks()
    parents = {task.name.parent for task in mine}
    remove_leftovers({out, *(folder / parent for folder in out.glob("*/") for parent in parents)})
    if shard.count == 1:
        outcome = _process(mine, job, quiet=False)
        _print_summary(outcome, tasks, job)
    else:
        job.manifest.add_shard(str(shard), None)
        outcome = _process(mine, job, quiet=shard.store is not None and shard.index > 0)
        _finish_shard(outcome, tasks, job, shard)
    return 3 if outcome.unfinished else 0


def _process(tasks: Sequence[Task], job: Job, quiet: bool) -> Outcome:
    outcome, start = Outcome(len(tasks)), time.perf_counter()
    results = pipelined(tasks, job.read, job.compute, job.write, job.is_large)
    try:
        for number, (task, result) in enumerate(
            progress(results, job.title, total=len(tasks), unit="image", disable=quiet)
        ):
            if result is None:
                outcome.kept += 1
            elif isinstance(result, FileResult):
                outcome.done += 1
            else:
                print_above(f"skipped: {result}")
                outcome.unfinished.append(task.key)
                if getattr(result.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    outcome.full = True  # every further write would fail as well
                    outcome.unfinished += [task.key for task in tasks[number + 1 :]]
                    break
    except KeyboardInterrupt:
        print(f"interrupted: {outcome.done + outcome.kept} of {len(tasks)} done; {CONTINUE}", file=sys.stderr)
        raise
    finally:
        results.close()
    outcome.seconds = time.perf_counter() - start
    return outcome


def _finish_shard(mine: Outcome, tasks: list[Task], job: Job, shard: Shard) -> None:
    """Print this shard's counts and, in the process that ends last, the summary of all."""
    unfinished = f"{len(mine.unfinished)} {'not processed (disk full)' if mine.full else 'skipped'}"
    counts = f"{mine.done} done, {mine.kept} finished before, {unfinished}"
    print(f"shard {shard.index + 1} of {shard.count}: {counts} in {mine.seconds:.1f} s", flush=True)
    try:
        outcome = combined_outcome(mine, len(tasks), job.manifest, shard)
        if outcome:
            _print_summary(outcome, tasks, job)
    except UserError as error:
        print(f"no summary of all shards: {error}", file=sys.stderr)
    with suppress(RuntimeError):  # the first process may have exited, and the store with it
        shard.barrier("reported")


def _print_summary(outcome: Outcome, tasks: list[Task], job: Job) -> None:
    """Write the overview, then print the table of all finished tasks, those of earlier runs included, and counts."""
    done, kept, unfinished = outcome.done, outcome.kept, set(outcome.unfinished)
    results = [(task, job.manifest.result(task.key)) for task in tasks if task.key not in unfinished]
    rows = [(task, result) for task, result in results if result]
    overview = job.manifest.folder / OVERVIEW if done and rows else None
    if overview:  # before anything is printed, since standard output may be closed
        try:
            write_overview(overview, [job.overview_row(task) for task, _ in rows[:OVERVIEW_ROWS]])
        except UserError as error:
            print(f"no overview: {error}", file=sys.stderr)
            overview = None
    with ignore_broken_pipe():
        if rows:
            print(f"{'name':32}{'size':^16}{'seconds':>9}{job.heading}")
        for task, result in rows:
            width_height = "{1:>7} × {0:<6}".format(*result.size) if result.size else ""
            seconds = "" if result.seconds is None else f"{result.seconds:.2f}"
            print(f"{printable(task.name):32}{width_height:16}{seconds:>9}{job.columns(result)}")
        if done:
            print(f"{done} done in {outcome.seconds:.1f} s")
        if overview:
            print(f"see {overview}")
        if kept:
            print(f"{kept} finished before")
        sys.stdout.flush()
    if outcome.full:
        print(f"stopped: {done + kept} of {outcome.total} done; free disk space, then {CONTINUE}", file=sys.stderr)
    elif unfinished:
        names = [task.name.with_name(task.path.name) for task in tasks if task.key in unfinished]
        print(f"{len(names)} of {outcome.total} skipped: {printable(', '.join(map(str, names)))}", file=sys.stderr)
