"""Everything that needs a GPU, in 8 minutes and one report: `make gpu-check`.

    python bench/gpu_check.py [--out gpu_report.txt] [--minutes 8]

Runs the GPU tests (at most half of the time), then the benchmarks of training and of inference, and writes their output
to the report as it appears. A part that does not end in its time is stopped, and the report says so.
Exit code: 0 if every part succeeded, 1 otherwise.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    "tests": ("-m", "pytest", "-m", "cuda", "tests/cuda", "-v", "--durations=20"),
    "training": ("bench/train_throughput.py", "--width", "16", "64", "--seconds", "10", "--cuda_graph"),
    "compiled": ("bench/train_throughput.py", "--width", "64", "--seconds", "10", "--compile", "--cuda_graph"),
    "stages of the paper's recipe": ("bench/stage_throughput.py", "--recipe", "gpu", "--seconds", "3"),
    "inference": ("bench/inference_speed.py", "--sides", "1024"),
}
TESTS_SHARE = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_report.txt"))
    parser.add_argument("--minutes", type=float, default=8.0)
    arguments = parser.parse_args()
    end, failed = time.monotonic() + 60 * arguments.minutes, []
    with arguments.out.open("w", encoding="utf-8") as report:
        for name, command in PARTS.items():
            left = end - time.monotonic()
            limit = left * TESTS_SHARE if name == "tests" else left
            outcome = run(name, command, limit, report)
            if outcome != "succeeded":
                failed.append(name)
        report.write(f"\nfailed: {', '.join(failed) or 'none'}\n")
    print(f"failed: {', '.join(failed) or 'none'}; report: {arguments.out}")
    return 1 if failed else 0


def run(name: str, command: tuple[str, ...], limit: float, report) -> str:
    """Run a part for at most `limit` seconds, its output in `report`; returns how it ended."""
    report.write(f"\n== {name}: python {' '.join(command)}\n")
    report.flush()
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, stdout=report, stderr=subprocess.STDOUT, timeout=max(limit, 1)
        )
        outcome = "succeeded" if done.returncode == 0 else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        outcome = "stopped: out of time"
    line = f"== {name}: {outcome}, {time.monotonic() - start:.0f} s"
    report.write(line + "\n")
    print(line, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
