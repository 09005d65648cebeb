"""Trainers, their loops and their strategies."""

from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden


def place_of(trainer: L.Trainer) -> int:
    """Batches that a training has begun, over all epochs, less one; resumed trainings go on."""
    return trainer.fit_loop.epoch_loop.total_batch_idx


def keep_place(trainer: L.Trainer, checkpoint: dict) -> None:
    """Makes a checkpoint say of its epoch what is true: open after a batch, over after its last.

    Where a limit ends the training inside an epoch, Lightning says that the epoch is over, and a
    longer training would go on with a new one; what is saved after the last batch it takes for
    open, and then counts one epoch too few. Both would end, save and validate at other steps than a
    training that was never stopped.
    """
    loop = trainer.fit_loop.epoch_loop
    batches, place = loop.batch_progress, checkpoint["loops"]["fit_loop"]
    epoch = place["epoch_progress"]
    if not 0 < batches.current.ready == batches.current.processed:
        return  # nothing was trained, or a step is being taken
    if batches.is_last_batch:
        for counts in ("total", "current"):
            batch = place["epoch_loop.batch_progress"][counts]
            if counts == "total" and batch["completed"] < batch["processed"]:
                place["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
            batch["completed"] = batch["processed"]
            epoch[counts]["processed"] = epoch[counts]["ready"]
        return
    for counts in epoch.values():
        for event in ("processed", "completed"):
            counts[event] = min(counts[event], counts["ready"] - 1)
    checkpoint["epoch"] = trainer.fit_loop.epoch_progress.current.ready - 1


def epochs_of(checkpoint: dict) -> int:
    """Whole epochs that the training of a checkpoint has behind it."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return progress.get("current", {}).get("processed", checkpoint.get("epoch", 0))


def trainer_of(model: L.LightningModule) -> L.Trainer | None:
    """The Trainer that a model is in, if any; `model.trainer` would raise where there is none."""
    return model._trainer


def has_own(name: str, model: L.LightningModule) -> bool:
    """Whether a model has a hook or a step of its own, and not Lightning's empty one."""
    return is_overridden(name, model)


class UnpackedBatches:
    """Before a LightningModule: its `unpack` gets each batch after all hooks of model and data.

    Lightning's hooks for a batch are the model's or the data's, never both. A batch that is
    predicted from stays as it is, as does an example input.
    """

    def _apply_batch_transfer_handler(
        self, batch: Any, device: Any = None, dataloader_idx: int = 0
    ) -> Any:
        batch = super()._apply_batch_transfer_handler(batch, device, dataloader_idx)
        own = device is None or self.trainer.predicting  # an example input, or a subclass's matter
        return batch if own else self.unpack(batch)


def allow_unused(strategy: Any) -> None:
    """Lets DDP bear that a step uses only some of the parameters, unless the user has set it."""
    if isinstance(strategy, DDPStrategy):
        strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


def saves_by_time(callback: Any) -> bool:
    """Whether a ModelCheckpoint saves every so many minutes."""
    return getattr(callback, "_train_time_interval", None) is not None


def saves_every(callback: Any) -> int:
    """After how many steps a ModelCheckpoint saves; 0: not by steps."""
    return getattr(callback, "_every_n_train_steps", 0) or 0


def has_validated(trainer: L.Trainer) -> bool:
    """Whether a validation has run, in which a number could have been logged."""
    return trainer.fit_loop.epoch_loop.val_loop._has_run


def count_as_begun(trainer: L.Trainer) -> None:
    """Sets the loggers' axis to the number of batches before the one that has begun.

    Lightning's is one too far where it goes on at an epoch's end.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped = loop.total_batch_idx


# Where the data goes on


def loaders_before(trainer: L.Trainer) -> list[Any]:
    """The training loaders of the epoch before, in the same run; none in the first."""
    loader = trainer.fit_loop._combined_loader
    return loader.flattened if loader is not None else []


def places_to_load(trainer: L.Trainer) -> list[dict[str, Any]]:
    """What the checkpoint says of each training loader's place, which Lightning will set."""
    return trainer.fit_loop._combined_loader_states_to_load


def drop_places(trainer: L.Trainer) -> None:
    """Lightning sets none: the loaders are where they should be."""
    trainer.fit_loop._combined_loader_states_to_load = []


def batches_begun(trainer: L.Trainer) -> int:
    """Of this epoch, as the checkpoint says."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready


def move_on(trainer: L.Trainer, batches: int, over: bool) -> None:
    """Counts so many more batches of this epoch as done.

    Args:
        over: Whether none is left.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    for event in ("ready", "started", "processed", "completed"):
        setattr(progress.current, event, getattr(progress.current, event) + batches)
    progress.is_last_batch = over
