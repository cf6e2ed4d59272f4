"""What the three descreening stages minimise, for the trainer of utils/trainer.py.

Batches hold "scan" and "colour" (the truth), (N, 3, H, W) BGR in [-1, 1], and "edges" (N, 1, H, W) in {0, 1}; a scan
has four channels more where the network sees waves (descreen/waves.py).
A stage trains one part of a Descreener; the parts before it stay as they are. LossTerms of weight 0 are not computed.
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


class _Objective(nn.Module):
    discriminators: nn.Module | None = None

    def __init__(self, network: Descreener):
        super().__init__()
        self.network = network

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for validation, (N, 3, H, W): "scan", "restored" and "target"."""
        with evaluating(self.network):
            restored = self.network.restore(batch["scan"])
        return {"scan": batch["scan"][:, :3], "restored": restored, "target": batch["colour"]}


class CoarseObjective(_Objective):
    """Stage 1: the coarse network by L1, PSNR and, where `gram` is given, texture."""

    def __init__(self, network: Descreener, weights: CoarseLossConfig, gram: GramLoss | None = None):
        super().__init__(network)
        if gram is None and weights.gram:
            raise ValueError("the gram term needs VGG16-bn")
        self.weights, self.gram = weights, gram

    def forward(self, batch: Batch) -> LossTerms:
        coarse = self.network.coarse(batch["scan"])
        terms = {"l1": l1_loss(coarse, batch["colour"])}
        total = self.weights.l1 * terms["l1"]
        if self.weights.psnr:
            terms["psnr"] = psnr_loss(coarse, batch["colour"])
            total = total + self.weights.psnr * terms["psnr"]
        if self.weights.gram:
            terms["gram"] = self.gram(coarse, batch["colour"])
            total = total + self.weights.gram * terms["gram"]
        return terms | {"total": total}


class EdgeObjective(_Objective):
    """Stage 2: EdgeNet finds the truth's edges in the coarse picture."""

    def __init__(self, network: Descreener):
        super().__init__(network)
        network.coarse.requires_grad_(False)

    def forward(self, batch: Batch) -> LossTerms:
        with torch.no_grad(), evaluating(self.network.coarse):
            coarse = self.network.coarse(batch["scan"])
        found = self.network.edge(coarse)
        return {"total": binary_cross_entropy_with_logits(found, batch["edges"])}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """As the other stages', but "restored" and "target" are edge maps, (N, 1, H, W)."""
        with evaluating(self.network):
            edges = self.network(batch["scan"]).edges
        return {"scan": batch["scan"][:, :3], "restored": 2 * edges - 1, "target": 2 * batch["edges"] - 1}


class DetailsObjective(_Objective):
    """Stage 3: DetailsNet, and the object network where it is the small one, against two discriminators.

    Both sides learn in the same step from the same pictures, each from its own gradients: `generator_loss` does not
    reach the discriminators, nor `discriminator_loss` the generator. Only a resumed run needs the discriminators.
    """

    def __init__(self, network: Descreener, weights: DetailsLossConfig, gram: GramLoss | None = None):
        super().__init__(network)
        if gram is None and weights.gram:
            raise ValueError("the gram term needs VGG19-bn")
        network.coarse.requires_grad_(False)
        network.edge.requires_grad_(False)
        self.weights, self.gram = weights, gram
        if weights.adversarial:
            judges = {"residual": ResidualDiscriminator(network.width), "triple": TripleDiscriminator(network.width)}
            self.discriminators = nn.ModuleDict(judges)

    def forward(self, batch: Batch) -> LossTerms:
        scan, truth, weights = batch["scan"][:, :3], batch["colour"], self.weights
        with evaluating(self.network.coarse), evaluating(self.network.edge):
            found = self.network(batch["scan"])
            terms = {"l1": l1_loss(found.restored, truth)}
            if weights.edge:
                edges = self.network.edge(found.restored)
                terms["edge"] = binary_cross_entropy_with_logits(edges, batch["edges"])
        if weights.gram:
            terms["gram"] = self.gram(found.restored, truth)
        pairs = []
        if self.discriminators is not None:
            pairs = [
                (self.discriminators["residual"], (truth - found.coarse,), (found.residual,)),
                (self.discriminators["triple"], (scan, truth, truth), (scan, truth, found.restored)),
            ]
            terms["adversarial"] = sum(generator_loss(discriminator, *fake) for discriminator, _, fake in pairs)
        total = sum(getattr(weights, name) * value for name, value in terms.items())
        if pairs:
            terms["discriminator"] = sum(discriminator_loss(*pair) for pair in pairs)
            total = total + terms["discriminator"]
        return terms | {"total": total}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, `network` uses its running statistics and leaves them alone; afterwards each part is as it was."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
