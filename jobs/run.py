"""Running a job over a folder: progress, what is skipped and why, a full disk and Ctrl-C."""

import errno
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tqdm import tqdm

from images.overview import write_overview
from jobs.pipeline import pipelined
from jobs.shards import SHOWN, Outcome, Shard, collect_reports, remove_report, write_report
from jobs.tasks import Task, check_writable, with_folder
from reshalf.folder_job import OVERVIEW, Done, FolderJob, is_large
from utils.command import unread_output
from utils.errors import UserError, printable
from utils.files import remove_leftovers

GO_ON = "the same command with --skip-existing goes on"
ALONE = Shard()

Finished = list[tuple[Task, Done]]


def run_folder(
    tasks: list[Task], job: FolderJob, doing: str, report: Callable[[Finished], None], shard: Shard = ALONE
) -> int:
    """Do this process's share of the tasks, one bad file costing only itself.

    Whoever ends last prints `report` of what all have done and writes OUT/overview.png. What killed runs left in the
    folders is removed.
    doing  what the progress bar says. Returns the exit code of the share: 0 all done, 3 something was skipped.
    """
    check_writable(job.out)
    mine = shard.of(tasks)
    parents = {task.name.parent for task in mine}
    remove_leftovers({job.out, *(kind / parent for kind in job.out.glob("*/") for parent in parents)})
    if shard.count > 1:
        remove_report(job.out, shard)
    outcome = _work(mine, job, doing, quiet=shard.store is not None and shard.index > 0)
    if shard.count == 1:
        _tell(outcome, job, report)
    else:
        _print_all_shards(outcome, tasks, job, report, shard)
    return 3 if outcome.skipped else 0


def _work(tasks: Sequence[Task], job: FolderJob, doing: str, quiet: bool) -> Outcome:
    outcome, start = Outcome(len(tasks)), time.perf_counter()
    outcomes = pipelined(tasks, job.read, job.compute, job.write, is_large)
    try:
        for task, made in tqdm(outcomes, doing, len(tasks), unit="image", disable=quiet):
            if made is None:
                outcome.kept += 1
            elif isinstance(made, Done):
                outcome.done.append((task, made if len(outcome.done) < SHOWN else made._replace(pictures=[])))
            else:
                tqdm.write(printable(f"skipped: {made}"), file=sys.stderr)
                outcome.skipped.append(task.name.with_name(task.path.name).as_posix())
                if getattr(made.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    outcome.full = True  # every further write would fail as well
                    break
    except KeyboardInterrupt:
        print(f"interrupted: {len(outcome.done) + outcome.kept} of {len(tasks)} done; {GO_ON}", file=sys.stderr)
        raise
    finally:
        outcomes.close()
    outcome.seconds = time.perf_counter() - start
    return outcome


def _print_all_shards(
    mine: Outcome, tasks: list[Task], job: FolderJob, report: Callable[[Finished], None], shard: Shard
) -> None:
    """Say what this share has done, then, where all have ended, what all have: one process only."""
    counts = f"{len(mine.done)} done, {mine.kept} were done already, {len(mine.skipped)} skipped"
    print(f"{shard}: {counts} in {mine.seconds:.1f} s{', stopped' if mine.full else ''}", flush=True)
    try:
        write_report(with_folder(job.out / OVERVIEW).parent, shard, job.manifest.made_by, mine)
    except UserError as error:
        print(f"no summary of all shards: {error}", file=sys.stderr)
    shard.barrier("ended")
    if shard.store is None or shard.index == 0:
        together = collect_reports(job.out, shard, job.manifest.made_by, tasks)
        if together is not None:
            _tell(together, job, report)
    with suppress(RuntimeError):  # the first process may have gone, and the store with it
        shard.barrier("told")


def _tell(outcome: Outcome, job: FolderJob, report: Callable[[Finished], None]) -> None:
    done, kept, skipped = outcome.done, outcome.kept, outcome.skipped
    overview = None
    if done:  # the work's last part, before anything is printed: nobody may be reading
        try:
            write_overview(job.out / OVERVIEW, [made.pictures for _, made in done[:SHOWN]])
            overview = job.out / OVERVIEW
        except UserError as error:
            print(f"no overview: {error}", file=sys.stderr)
    with unread_output():
        if done:
            report(done)
            print(f"{len(done)} done in {outcome.seconds:.1f} s")
        if overview:
            print(f"see {overview}")
        if kept:
            print(f"{kept} were done already")
        sys.stdout.flush()
    if outcome.full:
        print(f"stopped: {len(done) + kept} of {outcome.total} done; make room, then {GO_ON}", file=sys.stderr)
    elif skipped:
        print(f"{len(skipped)} of {outcome.total} skipped: {printable(', '.join(skipped))}", file=sys.stderr)
