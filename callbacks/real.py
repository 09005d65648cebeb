"""Real images, from whatever data a Trainer has.

Our own DataModules give whole splits. Any other LightningDataModule, or plain dataloaders, are
read through: batches that `unpack` reads, with x floats in [-1, 1] or uint8, in the form that the
model is given, that is after the DataModule's transfer hooks.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from ..batches import unpack
from ..images import check_images, refuse_from_zero, to_uint8


class Real(NamedTuple):
    """Images of one split: uint8 (N, C, H, W), or points float (N, D); labels (N,) or None."""

    images: Tensor
    labels: Tensor | None


def real_images(trainer: L.Trainer, split: str, limit: int) -> Real:
    """Images of "train", "val" or "test", at most `limit`, chosen at random once and for all.

    Draws from the global random state where the data does, in a foreign DataModule.
    """
    given = getattr(trainer.datamodule, "split", None)
    if callable(given):
        data = given(split)
        if hasattr(data, "take") and len(data) > limit:  # on the disk: no more than these are read
            data = data.take(_choose(len(data), limit))
        images, labels = data.images, data.labels
        if len(images) > limit:
            index = _choose(len(images), limit)
            images, labels = images[index], labels[index]
        return _checked(images, labels, split)
    return _read(trainer, split, limit)


def class_names(trainer: L.Trainer) -> tuple[str, ...]:
    return tuple(getattr(trainer.datamodule, "class_names", ()))


def data_name(trainer: L.Trainer) -> str:
    """What a report calls the data."""
    if trainer.datamodule is None:
        return "the given dataloaders"
    name = getattr(trainer.datamodule, "name", None)
    return name if isinstance(name, str) and name else type(trainer.datamodule).__name__


def unanswerable(trainer: L.Trainer, question: str) -> str:
    """Why this data cannot say, as of "memorisation", in a sentence; "" where it can."""
    return getattr(trainer.datamodule, "unanswerable", {}).get(question, "")


def looks_unscaled(samples: Tensor, real: Tensor) -> str:
    """What is to be said of uint8 samples without any dark pixel that, taken for images in [0, 1],
    would be much more like the real ones; "" where all is well.

    That is, half as far or less by the distribution of their values, and with half of its spread
    or more: samples of a network that has learned nothing are grey, and would then be as dark as
    most real ones. Missed: those of a network in [0, 1] that has learned nothing itself, or where
    one value of them all lies below grey.
    """
    if samples.dtype != torch.uint8 or samples.ndim != 4 or len(samples) < 2:
        return ""
    if samples.min() < 128 or real.min() >= 128:
        return ""
    given, wanted = _levels(samples), _levels(real[:: max(1, len(real) // 1000)])
    scaled = torch.zeros_like(given)
    scaled[1::2] = given[128:]  # where 2 x - 1 takes each level
    apart = [(levels.cumsum(0) - wanted.cumsum(0)).abs().sum() for levels in (given, scaled)]
    if apart[1] > apart[0] / 2 or _deviation(scaled) < _deviation(wanted) / 2:
        return ""
    return (
        f"must give images in [-1, 1], got no value below 0 in all {len(samples):,}, which look as "
        "if in [0, 1]: scale them by 2 x - 1"
    )


def _levels(images: Tensor) -> Tensor:
    """The share of each of 0..255 in bytes, float64 (256,)."""
    counts = sum(torch.bincount(part.flatten(), minlength=256) for part in images.split(256))
    return counts.double() / counts.sum()


def _deviation(levels: Tensor) -> Tensor:
    at = torch.arange(256, dtype=levels.dtype)
    mean = (levels * at).sum()
    return (levels * (at - mean).square()).sum().sqrt()


def _choose(total: int, limit: int) -> Tensor:
    if total <= limit:
        return torch.arange(total)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    return order[:limit].sort().values


def _read(trainer: L.Trainer, split: str, limit: int) -> Real:
    datamodule = trainer.datamodule
    images, labels, count = [], [], 0
    for batch in _batches(_loader(trainer, split), limit):
        if datamodule is not None:
            batch = datamodule.on_before_batch_transfer(batch, 0)
            batch = datamodule.on_after_batch_transfer(batch, 0)
        x, y = unpack(batch)
        if x.dtype != torch.uint8 and x.ndim == 4:
            check_images(x, tuple(x.shape[1:]), f"the {split} data")
            images.append((to_uint8(x), x.min().item()))
        else:
            images.append((x, -1.0))
        labels.append(y)
        count += len(x)
        if count >= limit:
            break
    if not count:
        raise ValueError(f"the {split} data must have images, got none")
    refuse_from_zero(min(low for _, low in images), f"the {split} data")
    x = torch.cat([x.cpu() for x, _ in images])[:limit]
    known = all(isinstance(y, Tensor) for y in labels)
    return _checked(x, torch.cat([y.cpu() for y in labels])[:limit] if known else None, split)


def refuse_shape(shape: Sequence[int]) -> None:
    """Refuses what no evaluation can compare or draw: volumes, sequences, images of two channels.

    Raises:
        ValueError: says what must hold, before anything is trained or drawn.
    """
    if len(shape) != 1 and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise ValueError(
            "the data must be images (C, H, W), grey or RGB, or points (D,), to be evaluated, got "
            f"{tuple(shape)}: leave the evaluations out (--evaluate false) to train on it"
        )


def refuse_shape_of(trainer: L.Trainer, model: L.LightningModule) -> None:
    """The same by what the data or the model says of it."""
    for part in (trainer.datamodule, model):
        shape = getattr(part, "image_shape", None)
        if isinstance(shape, (tuple, list)):
            refuse_shape(shape)


def refuse_batch(trainer: L.Trainer, batch: Any) -> None:
    """The same by a first batch, where nobody says it and evaluations read such batches."""
    if callable(getattr(trainer.datamodule, "split", None)):
        return
    try:
        x, _ = unpack(batch)
    except TypeError:  # as a hook of the model's may have made it, which no evaluation sees
        return
    refuse_shape(x.shape[1:])


def _checked(images: Tensor, labels: Any, split: str) -> Real:
    refuse_shape(images.shape[1:])
    if images.ndim == 4 and images.dtype != torch.uint8:
        got = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"the {split} data must be images (N, C, H, W) or points, got {got}")
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        labels = None  # captions, partners or attributes: no classes
    elif (labels < 0).all():
        labels = None
    return Real(images, labels)


def _batches(loader: Any, limit: int):
    """The loader's batches in the data's own order, without touching an iterator in use."""
    if isinstance(loader, (list, tuple)):
        loader = loader[0]
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return iter(loader)
    indices = _choose(len(loader.dataset), limit).tolist()
    return iter(
        DataLoader(
            Subset(loader.dataset, indices),
            batch_size=loader.batch_size or 128,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
        )
    )


def _loader(trainer: L.Trainer, split: str) -> Any:
    datamodule = trainer.datamodule
    if datamodule is not None:
        if split == "train" and trainer.state.fn != "fit":
            datamodule.setup("fit")  # a test stage alone does not prepare the training images
        name = f"{split}_dataloader"
        return getattr(datamodule, name)()
    loaders = {
        "train": trainer.train_dataloader,
        "val": trainer.val_dataloaders,
        "test": trainer.test_dataloaders,
    }
    if loaders[split] is None:
        raise ValueError(
            f"the {split} images are needed too, and this Trainer was given no {split} dataloader: "
            "give it a datamodule that has all splits"
        )
    return loaders[split]
