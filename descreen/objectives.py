"""Objectives of the three descreening stages, for the trainer of training/trainer.py.

Batches hold "scan" and "colour" (the ground truth), (N, 3, H, W) BGR in [-1, 1], and "edges" (N, 1, H, W) in {0, 1};
with screen-phase maps (descreen/waves.py) a scan has four more channels, with the kind of inks (descreen/inks.py) one.
Each stage trains one part of a Descreener and freezes the earlier ones. Terms of weight 0 are not computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from descreen.config import CoarseLossConfig, DetailsLossConfig
from descreen.losses import GramLoss, discriminator_loss, generator_loss
from descreen.networks import ResidualDiscriminator, TripleDiscriminator
from descreen.system import Descreener
from model.loss import psnr_loss

Batch = dict[str, Tensor]
LossTerms = dict[str, Tensor]
LossConfig = CoarseLossConfig | DetailsLossConfig


class _Objective(nn.Module):
    step, phase = 0, None

    def __init__(self, network: Descreener, weights: LossConfig | None = None, gram: GramLoss | None = None):
        super().__init__()
        if weights and weights.gram and gram is None:
            raise ValueError("a gram term of weight above 0 needs a GramLoss")
        self.network, self.weights, self.gram = network, weights, gram
        self.discriminators = None  # not a class attribute, which would hide a registered module

    def draw(self, batch: Batch) -> Batch:
        return batch

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Validation images, (N, 3, H, W): "scan", "restored" and "target"."""
        with eval_mode(self.network):
            restored = self.network.restore(batch["scan"])
        return {"scan": batch["scan"][:, :3], "restored": restored, "target": batch["colour"]}

    def _weighted_sum(self, terms: LossTerms) -> Tensor:
        return sum(getattr(self.weights, name) * value for name, value in terms.items())


class CoarseObjective(_Objective):
    """Stage 1: the coarse network, with L1, PSNR and VGG16-bn Gram terms."""

    def forward(self, batch: Batch) -> LossTerms:
        coarse = self.network.coarse(batch["scan"])
        terms = {"l1": l1_loss(coarse, batch["colour"])}
        if self.weights.psnr:
            terms["psnr"] = psnr_loss(coarse, batch["colour"])
        if self.weights.gram:
            terms["gram"] = self.gram(coarse, batch["colour"])
        return terms | {"total": self._weighted_sum(terms)}


class EdgeObjective(_Objective):
    """Stage 2: EdgeNet, which predicts the edges of the ground truth from the coarse image."""

    def __init__(self, network: Descreener):
        super().__init__(network)
        network.coarse.requires_grad_(False)

    def forward(self, batch: Batch) -> LossTerms:
        with torch.no_grad(), eval_mode(self.network.coarse):
            coarse = self.network.coarse(batch["scan"])
        return {"total": binary_cross_entropy_with_logits(self.network.edge(coarse), batch["edges"])}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """As in the other stages, but "restored" and "target" are edge maps in [-1, 1], (N, 1, H, W)."""
        with eval_mode(self.network):
            edges = self.network(batch["scan"]).edges
        return {"scan": batch["scan"][:, :3], "restored": 2 * edges - 1, "target": 2 * batch["edges"] - 1}


class DetailsObjective(_Objective):
    """Stage 3: DetailsNet, and SmallObjectNet where used, with L1, edge, VGG19-bn Gram and adversarial terms.

    Generator and discriminators are updated in the same step from the same batch: `generator_loss` has no gradient for
    the discriminators, `discriminator_loss` none for the generator.
    """

    def __init__(self, network: Descreener, weights: DetailsLossConfig, gram: GramLoss | None = None):
        super().__init__(network, weights, gram)
        network.coarse.requires_grad_(False)
        network.edge.requires_grad_(False)
        if weights.adversarial:
            pair = {"residual": ResidualDiscriminator(network.width), "triple": TripleDiscriminator(network.width)}
            self.discriminators = nn.ModuleDict(pair)

    def forward(self, batch: Batch) -> LossTerms:
        scan, truth = batch["scan"][:, :3], batch["colour"]
        with eval_mode(self.network.coarse), eval_mode(self.network.edge):
            found = self.network(batch["scan"])
            terms = {"l1": l1_loss(found.restored, truth)}
            if self.weights.edge:
                edges = self.network.edge(found.restored)
                terms["edge"] = binary_cross_entropy_with_logits(edges, batch["edges"])
        if self.weights.gram:
            terms["gram"] = self.gram(found.restored, truth)
        if self.discriminators is None:
            return terms | {"total": self._weighted_sum(terms)}
        triples = [  # discriminator, real, fake
            (self.discriminators["residual"], (truth - found.coarse,), (found.residual,)),
            (self.discriminators["triple"], (scan, truth, truth), (scan, truth, found.restored)),
        ]
        terms["adversarial"] = sum(generator_loss(discriminator, *fake) for discriminator, _, fake in triples)
        total = self._weighted_sum(terms)
        terms["discriminator"] = sum(discriminator_loss(*triple) for triple in triples)
        return terms | {"total": total + terms["discriminator"]}


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put `network` in evaluation mode inside the block; restores the mode of each module on exit."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
