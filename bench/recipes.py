"""Training recipes at equal CPU time.

    python bench/recipes.py --data_dir dataset --out runs/recipes [--seconds 400] [--width 16] [--recipes paper joint]

released  the paper's three stages with the released settings
paper     the paper's network with scripts/paper_cpu_*.json
prior     the dither prior: proxy, decoder
joint     the same, then joint training with a correcting encoder

All networks are hourglasses of one width; those with the prior have one level. The stages of a recipe together take
--seconds of CPU time of one process, excluding validation and the prior's halftones; two short runs of each stage
determine the number of steps. evaluate.py then measures each recipe on the validation photographs of --data_dir.
Prints a table and writes OUT/recipes.json. Completed stages are not repeated.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHORT, LONG = 4, 44  # steps of the two short runs


@dataclass(frozen=True)
class Stage:
    """One training: script, config file, share of the recipe's time, other settings ({STAGE}: its checkpoint)."""

    script: str
    config: str
    share: float
    settings: tuple[str, ...] = ()


COMMON = ("cuda=false", "multi-gpus=false")
SHARED = ("data_loader.batch_size=8", "data_loader.crop_size=128", "data_loader.flip=true", "data_loader.num_workers=2")
SHARED += ("precision=bf16-mixed", "channels_last=true", "ema_decay=0.998", "grad_clip=0.05", "optimizer.lr=0.0008")
SHARED += ("lr_sheduler.name=cosine", "lr_sheduler.warmup_steps=50")
GUIDED = (*SHARED, "proxy_ckpt={proxy}", "decoder=hourglass", "levels=1", "restoreLoss=l2_loss", "restoreLossWeight=1")
JOINT = ("initial_ckpt={decoder}", "prior.correction=true", "quantizedTone=true")
WARM = ("extractor_ckpt={paper_extractor}", "initial_ckpt={paper_decoder}")
START = ("start.steps={half}", "lr_sheduler.restart_step={half}")
STAGES = {
    "extractor": Stage("train_invhalf.py", "inversehalf.json", 0.2, SHARED),
    "warm": Stage("train_warm.py", "invhalf_warm.json", 0.3, (*SHARED, "extractor_ckpt={extractor}")),
    "released": Stage("train.py", "invhalf_full.json", 0.5, (*SHARED, "initial_ckpt={warm}", "vggLossWeight=0")),
    "paper_extractor": Stage("train_invhalf.py", "paper_cpu_invhalf.json", 0.05),
    "paper_decoder": Stage("train.py", "paper_cpu_decoder.json", 0.35),
    "paper_warm": Stage("train_warm.py", "paper_cpu_warm.json", 0.15, WARM + START),
    "paper": Stage("train.py", "paper_cpu_joint.json", 0.45, ("initial_ckpt={paper_warm}",)),
    "proxy": Stage("train.py", "reshalf_proxy.json", 0.15, SHARED),
    "prior": Stage("train.py", "reshalf_prior.json", 0.85, GUIDED),
    "decoder": Stage("train.py", "reshalf_prior.json", 0.5, GUIDED),
    "joint": Stage("train.py", "reshalf_prior.json", 0.35, GUIDED + JOINT),
}
RECIPES = {
    "released": ("extractor", "warm", "released"),
    "paper": ("paper_extractor", "paper_decoder", "paper_warm", "paper"),
    "prior": ("proxy", "prior"),
    "joint": ("proxy", "decoder", "joint"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="output of python -m dataset.prepare")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=400.0, help="CPU time of a recipe")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    arguments = parser.parse_args()
    arguments.data_dir, arguments.out = arguments.data_dir.resolve(), arguments.out.resolve()
    found = {name: run(name, arguments) for name in arguments.recipes}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "recipes.json").write_text(json.dumps(found, indent=4) + "\n", encoding="utf-8")
    print(f"{'recipe':8}{'steps':>18}{'restored dB':>13}{'SSIM':>8}{'tone dB':>9}{'low frequency':>15}")
    for name, row in found.items():
        steps = " + ".join(map(str, row["steps"]))
        low = row["low_frequency"]  # null if the halftone of a gray is all black or all white
        figures = f"{row['restored']:13.2f}{row['ssim']:8.3f}{row['tone']:9.2f}"
        figures += f"{'-':>15}" if low is None else f"{low:15.1e}"
        print(f"{name:8}{steps:>18}{figures}")


def run(recipe: str, arguments: argparse.Namespace) -> dict:
    """Train the missing stages of a recipe in order, measure the last one."""
    made = {name: arguments.out / name / "model_best.pth.tar" for name in STAGES}
    steps = []
    for name in RECIPES[recipe]:
        stage, count = STAGES[name], arguments.out / f"{name}.steps"
        if not count.exists():
            settings = [*COMMON, f"data_dir={arguments.data_dir}", f"save_dir={arguments.out}"]
            settings += [f"width={arguments.width}"] if name != "proxy" else []
            for tried in (1, SHORT, LONG):  # a finished short run of an interrupted benchmark would not be repeated
                shutil.rmtree(arguments.out / f"{name}_{tried}", ignore_errors=True)
            # The first of the three writes the cache of halftones, which the others read.
            _, short, long = (
                train(stage, tried, made, [*settings, f"name={name}_{tried}"]) for tried in (1, SHORT, LONG)
            )
            total = max(1, round(stage.share * arguments.seconds * (LONG - SHORT) / (long - short)))
            train(stage, total, made, [*settings, f"name={name}"], validate=True)
            count.write_text(str(total), encoding="utf-8")
        steps.append(int(count.read_text(encoding="utf-8")))
    return {"steps": steps} | measure(made[recipe], arguments.data_dir, arguments.out / f"{recipe}_evaluation")


def train(stage: Stage, steps: int, made: dict[str, Path], settings: list[str], validate: bool = False) -> float:
    """Train for `steps` steps; returns the CPU time in seconds. `made`: the checkpoints of the stages."""
    own = [text.format(half=steps // 2, **made) for text in stage.settings]
    settings = [*own, *settings, "trainer.epochs=1", f"trainer.steps_per_epoch={steps}", "trainer.save_epochs=1"]
    settings += ["trainer.monitor=loss"] + ([] if validate else ["trainer.validate_every=null"])
    command = [sys.executable, stage.script, "--config", f"scripts/{stage.config}", "--resume", "auto"]
    command += [word for text in settings for word in ("--set", text)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(model: Path, data_dir: Path, out: Path) -> dict[str, float]:
    """PSNR (dB) and SSIM of the restoration, tone PSNR (dB) and low-frequency power of the halftone."""
    photos = data_dir / "HalftoneVOC2012/val/target_c"
    command = [sys.executable, "evaluate.py", "--model", model, "--data_dir", photos, "--save_dir", out]
    subprocess.run([*command, "--no_robustness", "--no_references"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    mean = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["mean"]
    halftone, restored = mean["halftone"]["network"], mean["restoration"]["network"]
    return {
        "restored": restored["psnr"],
        "ssim": restored["ssim"],
        "tone": halftone["tone_psnr_1.5"],
        "low_frequency": mean["spectrum"]["network"]["low-freq gray"],
    }


if __name__ == "__main__":
    main()
