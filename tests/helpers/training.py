"""What several tests train on."""

import lightning as L
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset


def loader(images: torch.Tensor, batch_size: int = 8, num_classes: int = 3) -> DataLoader:
    """Batches (x, y) of these images, in their order, with labels that go round."""
    labels = torch.arange(len(images)) % num_classes
    data = TensorDataset(images, labels)
    # Whole batches are indexed at once: image by image would take longer than a small training.
    batches = BatchSampler(SequentialSampler(data), batch_size, drop_last=False)
    return DataLoader(data, batch_size=None, sampler=batches)


def bits(n: int, shape: tuple[int, ...] = (1, 8, 8)) -> torch.Tensor:
    """Binary images in {-1, 1} whose left half is mostly on."""
    chance = torch.linspace(0.9, 0.1, shape[-1]).expand(shape)
    return (
        torch.bernoulli(chance.expand(n, *shape), generator=torch.Generator().manual_seed(0)) * 2
        - 1
    )


def trainer(**settings) -> L.Trainer:
    """A silent trainer on the CPU that leaves nothing behind unless asked to."""
    quiet = dict(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return L.Trainer(**{**quiet, **settings})


def fit(model: L.LightningModule, data, steps: int, **settings) -> L.Trainer:
    """Trains for so many batches."""
    runner = trainer(max_epochs=-1, max_steps=steps, **settings)
    runner.fit(model, data)
    return runner
