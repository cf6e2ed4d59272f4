"""The photographs that a config names, as streams of batches."""

from lightning.fabric import Fabric
from torch import nn

from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from training.config import TrainConfig


def photo_streams(config: TrainConfig, network: nn.Module, fabric: Fabric) -> dict[str, BatchStream | None]:
    """Batches to train on, "stream", and images to measure, "validation": the arguments of the Trainer.

    Raises UserError for a bad list, a bad file and a crop that does not fit.
    """
    data = config.data_loader
    photos = PhotoSet.from_lists(config.data_dir, data.dataset, "train")
    specials = PhotoSet.from_lists(config.data_dir, data.special_set, "train") if data.special_set else None
    measured = PhotoSet.from_lists(config.data_dir, data.dataset, "val") if config.trainer.validate_every else None
    for photo_set in filter(None, (photos, specials, measured)):
        photo_set.verify()
    share = {"seed": config.seed, "rank": fabric.global_rank, "world_size": fabric.world_size}
    stream = BatchStream(
        photos,
        specials,
        batch_size=data.batch_size,
        crop_size=data.crop_size,
        flip=data.flip,
        shuffle=data.shuffle,
        num_workers=data.num_workers,
        **share,
    )
    validation = BatchStream(measured, batch_size=data.batch_size, shuffle=False, **share) if measured else None
    return {"stream": stream, "validation": validation}
