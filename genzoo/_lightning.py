"""What of Lightning is used that it does not document, in one place.

`tests/test_lightning.py` says of each what breaks when a version of Lightning changes it.
"""

import lightning as L


def place_of(trainer: L.Trainer) -> int:
    """Batches that a training has begun, over all epochs, less one; resumed trainings go on."""
    return trainer.fit_loop.epoch_loop.total_batch_idx


def keep_place(trainer: L.Trainer, checkpoint: dict) -> None:
    """Makes a checkpoint say of its epoch what is true: open after a batch, over after its last.

    Where a limit ends the training inside an epoch, Lightning says that the epoch is over, and a
    longer training would go on with a new one; what is saved after the last batch it takes for
    open, and then counts one epoch too few. Both would end, save and validate elsewhere than a
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
