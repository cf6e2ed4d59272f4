"""The job of inference_fast.py: photographs to halftones and restored photographs, or halftones to photographs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jobs.job import Job, Loaded, Outputs
from jobs.manifest import FileResult
from jobs.tasks import HALFTONES, RESTORED
from metrics import quality
from reshalf.codec import ResHalfCodec
from reshalf.repair import read_repaired


@dataclass(kw_only=True)
class FolderJob(Job):
    """Writes OUT/halftone/NAME.png, or in another format, and OUT/restored/NAME.png; with `decoding`, the inputs are
    halftones and only the latter is written.

    force   with `decoding`: accept inputs that are not halftones
    invert  with `decoding`: swap black and white of all inputs
    """

    codec: ResHalfCodec
    decoding: bool
    force: bool
    invert: bool

    def load(self, path: Path) -> Loaded:
        """A photograph, or with `decoding` a halftone (H, W), repaired. Raises UserError for a bad file."""
        if not self.decoding:
            return super().load(path)
        read = read_repaired(path, self.codec.has_pilot, self.invert, self.force, max_pixels=self.max_pixels)
        return Loaded(read.halftone, None, read.resolution, read.remarks)

    def convert(self, picture: np.ndarray) -> tuple[Outputs, str]:
        """The halftone of a photograph and its restoration, or the restoration of a halftone; no note."""
        if self.decoding:
            return {RESTORED: self.codec.restore(picture)}, ""
        halftone = self.codec.halftone(picture)
        return {HALFTONES: halftone, RESTORED: self.codec.restore(halftone)}, ""

    def scores(self, picture: np.ndarray, outputs: Outputs) -> dict[str, float] | None:
        """PSNR in dB, SSIM and tone PSNR in dB against the photograph; NaN if it is too small or memory is short."""
        if self.decoding:
            return None
        halftone, restored = outputs[HALFTONES], outputs[RESTORED]
        scores = dict.fromkeys(("psnr", "ssim", "tone"), float("nan"))
        try:
            scores["psnr"] = quality.psnr(picture, restored)
            if min(halftone.shape) >= quality.SIZE:
                scores["ssim"], scores["tone"] = quality.ssim(picture, restored), quality.tone_psnr(halftone, picture)
        except MemoryError:  # the outputs are valid without scores
            pass
        return scores

    @property
    def heading(self) -> str:
        """Headings of the scores; empty with `decoding`."""
        return "" if self.decoding else f"{'PSNR dB':>10}{'SSIM':>8}{'tone dB':>10}"

    def columns(self, result: FileResult) -> str:
        """The scores, if there are any."""
        return "{psnr:10.2f}{ssim:8.3f}{tone:10.2f}".format(**result.scores) if result.scores else ""
