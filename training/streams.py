"""Streams of batches of the photographs listed in a config."""

from lightning.fabric import Fabric

from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from training.config import TrainConfig


def photo_streams(config: TrainConfig, fabric: Fabric) -> dict[str, BatchStream | None]:
    """The Trainer's arguments "stream", training batches, and "validation", whole photographs in order, or None.

    Raises UserError for a bad list, a bad file or a crop that does not fit.
    """
    data = config.data_loader
    photos = PhotoSet.from_lists(config.data_dir, data.dataset, "train")
    specials = PhotoSet.from_lists(config.data_dir, data.special_set, "train") if data.special_set else None
    validation = PhotoSet.from_lists(config.data_dir, data.dataset, "val") if config.trainer.validate_every else None
    for photo_set in filter(None, (photos, specials, validation)):
        photo_set.verify()
    share = {"seed": config.seed, "rank": fabric.global_rank, "world_size": fabric.world_size}
    options = data.model_dump(
        include={"batch_size", "special_batch_size", "crop_size", "flip", "shuffle", "num_workers"}
    )
    stream = BatchStream(photos, specials, **options, **share)
    if validation is not None:
        validation = BatchStream(validation, batch_size=data.batch_size, shuffle=False, **share)
    return {"stream": stream, "validation": validation}
