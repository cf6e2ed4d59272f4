"""The training objectives of the three stages.

An objective owns its network and maps a batch to named loss terms and their total. Batches are dicts of (N, C, H, W)
float32 tensors in [-1, 1]: "colour", "reference" (the error-diffused halftone), "prior" (the classical halftone, for
networks with a prior), and the same with the prefix "special_" for constant colours, which the blue-noise term needs.
Terms of weight zero and terms without a gradient are not computed.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from model.loss import (
    RESTORE_LOSSES,
    PerceptualLoss,
    blue_noise_loss,
    gray,
    opponents,
    quantize_loss,
    structure_loss,
    tone_loss,
)
from model.reshalf import Encoded, InverseHalf, ResHalf
from model.start import readable_amplitude, start_target

Batch = dict[str, Tensor]
LossTerms = dict[str, Tensor]


class _Objective(nn.Module):
    """Defaults of training.protocols.Objective."""

    discriminators = None
    step = 0
    phase = None

    def draw(self, batch: Batch) -> Batch:
        return batch


class InverseHalfObjective(_Objective):
    """Stage 0: restore gray from the error-diffused reference."""

    def __init__(self, network: InverseHalf, restore: str = "l2_loss", restore_weight: float = 1.0):
        super().__init__()
        self.network = network
        self.weights = {"restore": restore_weight}
        self.restore = RESTORE_LOSSES[restore]

    def forward(self, batch: Batch) -> LossTerms:
        return _weigh(
            {"restore": self.restore(self.network(batch["reference"]).float(), gray(batch["colour"]))}, self.weights
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Images for validation, each (N, 1, H, W): "halftone", "restored" and "target"."""
        reference = batch["reference"]
        return {"halftone": reference, "restored": self.network(reference), "target": gray(batch["colour"])}


class _HalftoneObjective(_Objective):
    """The terms of the halftone, shared by the warm-up and the joint training.

    freeze          "encoder" or "decoder" is not trained; "none": both are
    restores        whether a term depends on the restoration; otherwise the decoder is not trained either
    quantized_tone  tone, structure and blue noise use the halftone after the quantizer instead of before
    drift_guard     the gradient of the quantizer is `guarded` (model.quantizer)
    """

    def __init__(
        self,
        network: ResHalf,
        weights: dict[str, float],
        freeze: str,
        quantized_tone: bool,
        drift_guard: bool,
        restores: bool,
    ):
        super().__init__()
        self.network = network
        self.weights = weights
        self.quantized_tone, self.drift_guard = quantized_tone, drift_guard
        if freeze == "encoder" and network.encoder is not None:
            network.encoder.requires_grad_(False)
        if freeze == "decoder" or not restores:  # DDP would wait for its gradients
            network.decoder.requires_grad_(False)
        self.trains_encoder = network.encoder is not None and freeze != "encoder"
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ValueError(
                "nothing to train: encoder and decoder are frozen, without parameters or without a loss term"
            )

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Images for validation: "halftone" (N, 1, H, W), "restored" and "target" (N, 3, H, W); noise of seed 0."""
        with torch.no_grad():
            encoded = self.network.encode(batch["colour"], condition=batch.get("prior"))
            restored = self.network.decode(encoded.halftone)
        return {"halftone": encoded.halftone, "restored": restored, "target": batch["colour"]}

    def draw(self, batch: Batch) -> Batch:
        """Add the encoder's "condition" of all inputs: the prior's halftones, or noise from torch's generators."""
        prefixes = self._prefixes(batch)
        if "prior" in batch:
            condition = torch.cat([batch[prefix + "prior"] for prefix in prefixes])
        else:
            condition = self.network.condition(self._inputs(batch), seed=None)
        return batch | {"condition": condition}

    def _prefixes(self, batch: Batch) -> tuple[str, ...]:
        return ("", "special_") if self.trains_encoder and "special_colour" in batch else ("",)

    def _inputs(self, batch: Batch) -> Tensor:
        """Photographs, followed by the constant colours if the encoder is trained."""
        return torch.cat([batch[prefix + "colour"] for prefix in self._prefixes(batch)])

    def _encode(self, colour: Tensor, condition: Tensor, count: int) -> tuple[Encoded, Encoded | None]:
        """Halftones of `count` photographs and, if there are more inputs, of the constant colours, in one pass."""
        with torch.set_grad_enabled(self.trains_encoder and torch.is_grad_enabled()):
            both = self.network.encode(colour, condition=condition, guarded=self.drift_guard)
        special = Encoded(*(x[count:] for x in both)) if len(colour) > count else None
        return Encoded(*(x[:count] for x in both)), special

    def _halftone_terms(self, photos: Encoded, specials: Encoded | None, batch: Batch) -> LossTerms:
        """Terms of the halftone, in float32 inside autocast regions too."""
        if not self.trains_encoder:
            return {}
        photos = Encoded(*(x.float() for x in photos))
        specials = specials and Encoded(*(x.float() for x in specials))
        with torch.autocast(photos.continuous.device.type, enabled=False):
            return self._float_terms(photos, specials, batch)

    def _judged(self, encoded: Encoded) -> Tensor:
        return encoded.halftone if self.quantized_tone else encoded.continuous

    def _float_terms(self, photos: Encoded, specials: Encoded | None, batch: Batch) -> LossTerms:
        terms = {}
        photo, target = self._judged(photos), gray(batch["colour"])
        if self.weights["tone"]:
            terms["tone"] = tone_loss(photo, target)
        if self.weights["structure"]:
            terms["structure"] = structure_loss(photo, target)
        if self.weights["quantize"]:
            terms["quantize"] = quantize_loss(photos.continuous)
        if specials is not None:
            special, special_target = self._judged(specials), gray(batch["special_colour"])
            if self.weights["quantize"]:
                terms["quantize"] = (terms["quantize"] + quantize_loss(specials.continuous)) / 2
            if self.weights["blue_noise"]:
                terms["tone_special"] = tone_loss(special, special_target)
                terms["blue_noise"] = blue_noise_loss(special, special_target)
        return terms


class WarmObjective(_HalftoneObjective):
    """Stage 1: the encoder is trained to dither, with a feature term through a frozen extractor.

    feature_target  target of the extractor's output on the halftone: "reference", its output on the error-diffused
                    reference (the paper); "gray", the gray photograph (the released code)
    weights         of tone, quantize, structure, blue_noise (also of tone on constant colours) and feature
    start_steps     in the first `start_steps` of training only the start term is minimised: the mean squared error of
                    the continuous halftone and `start_target`, called `start`; `step` is set by the Trainer
    start_weight    weight of that term in the later steps
    """

    def __init__(
        self,
        network: ResHalf,
        weights: dict[str, float],
        extractor: InverseHalf | None,
        feature_target: str = "reference",
        freeze: str = "decoder",
        quantized_tone: bool = False,
        start: str = "random",
        start_steps: int = 0,
        start_weight: float = 0.0,
        drift_guard: bool = False,
    ):
        super().__init__(network, weights, freeze, quantized_tone, drift_guard, restores=False)
        self.start, self.start_steps, self.start_weight = start, start_steps, start_weight
        if (start_steps or start_weight) and network.prior is not None:
            raise ValueError("the start needs the noise channel of a network without a prior")
        if extractor is None and weights["feature"]:
            raise ValueError("the feature term needs the trained extractor")
        self.extractor = extractor.requires_grad_(False).eval() if extractor is not None else None
        self.feature_target = feature_target

    @property
    def phase(self) -> str:
        """ "start" in the first `start_steps`, then "warm-up"."""
        return "start" if self.step < self.start_steps else "warm-up"

    def forward(self, batch: Batch) -> LossTerms:
        colour, condition = self._inputs(batch), batch["condition"]
        photos, specials = self._encode(colour, condition, len(batch["colour"]))
        starting = self.phase == "start"
        weights = {"start": 1.0} if starting else self.weights | {"start": self.start_weight}
        terms = {} if starting else self._halftone_terms(photos, specials, batch)
        if weights["start"]:
            continuous = torch.cat([part.continuous for part in (photos, specials) if part is not None])
            with torch.autocast(colour.device.type, enabled=False):
                target = start_target(self.start, self.network.noise, colour, condition)
                terms["start"] = mse_loss(continuous.float(), target)
        if weights.get("feature"):
            with torch.no_grad():
                by_reference = self.feature_target == "reference"
                target = self.extractor(batch["reference"]) if by_reference else gray(batch["colour"])
            terms["feature"] = mse_loss(self.extractor(photos.continuous).float(), target.float())
        return _weigh(terms, weights)


class JointObjective(_HalftoneObjective):
    """Stage 2: encoder and decoder together, with the terms of the halftone and of the restoration.

    weights   of tone, quantize, structure, blue_noise (also of tone on constant colours), restore, chroma (mean squared
              error of `model.loss.opponents`) and perceptual
    restore   name of the restoration loss, one of RESTORE_LOSSES
    vgg       the perceptual loss, required if its weight is above 0
    bit_flip  probability of flipping each pixel of the halftone before decoding, for robustness to damage
    decoder_input  "halftone"; "orientation": the decoder learns from the start's target at `readable_amplitude`, is
              validated on that of the encoder, and the encoder, which must be frozen, is not evaluated
    """

    def __init__(
        self,
        network: ResHalf,
        weights: dict[str, float],
        restore: str = "l2_loss",
        vgg: PerceptualLoss | None = None,
        freeze: str = "none",
        quantized_tone: bool = False,
        bit_flip: float = 0.0,
        decoder_input: str = "halftone",
        drift_guard: bool = False,
    ):
        if decoder_input == "orientation" and (network.prior is not None or freeze != "encoder"):
            raise ValueError('decoderInput "orientation" needs a network without a prior and freeze "encoder"')
        restores = any(weights[name] for name in ("restore", "chroma", "perceptual"))
        super().__init__(network, weights, freeze, quantized_tone, drift_guard, restores)
        if vgg is None and weights["perceptual"]:
            raise ValueError("the perceptual term needs VGG19")
        self.restore = RESTORE_LOSSES[restore]
        self.vgg = vgg
        self.bit_flip = bit_flip
        self.decoder_input = decoder_input

    def draw(self, batch: Batch) -> Batch:
        """As for every halftone objective; with decoder_input "orientation" also "amplitude", of the dithers."""
        batch = super().draw(batch)
        if self.decoder_input == "halftone":
            return batch
        return batch | {"amplitude": readable_amplitude(len(batch["colour"]), batch["colour"].device)}

    def forward(self, batch: Batch) -> LossTerms:
        colour, condition = self._inputs(batch), batch["condition"]
        if self.decoder_input == "orientation":
            amplitude = batch["amplitude"]
            terms, halftone = {}, start_target("orientation", self.network.noise, colour, condition, amplitude)
        else:
            photos, specials = self._encode(colour, condition, len(batch["colour"]))
            terms, halftone = self._halftone_terms(photos, specials, batch), photos.halftone
        if self.bit_flip:
            halftone = torch.where(torch.rand_like(halftone) < self.bit_flip, -halftone, halftone)
        restored = self.network.decode(halftone).float()
        if self.weights["restore"]:
            terms["restore"] = self.restore(restored, batch["colour"])
        if self.weights["chroma"]:
            terms["chroma"] = mse_loss(opponents(restored), opponents(batch["colour"]))
        if self.weights["perceptual"]:
            terms["perceptual"] = self.vgg(restored, batch["colour"])
        return _weigh(terms, self.weights)

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """As for every halftone objective; with decoder_input "orientation", of the start's target."""
        if self.decoder_input == "halftone":
            return super().predict(batch)
        colour, network = batch["colour"], self.network
        halftone = start_target("orientation", network.noise, colour, network.condition(colour))
        return {"halftone": halftone, "restored": network.decode(halftone), "target": colour}


def _weigh(terms: LossTerms, weights: dict[str, float]) -> LossTerms:
    """Add "total", the weighted sum; tone on constant colours has the weight of blue noise."""
    if not terms:
        raise ValueError("every term has weight zero or no trainable parameters")
    total = sum(weights["blue_noise" if name == "tone_special" else name] * value for name, value in terms.items())
    return terms | {"total": total}
