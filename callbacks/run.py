"""The `Run` of a Trainer, with the real images of its data.

genzoo's DataModules give whole splits. The images of other LightningDataModules and of plain
dataloaders are read batch by batch, in forms that `unpack` reads, with x floats in [-1, 1] or
uint8, after the DataModule's transfer hooks, as the model gets them.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from ..batches import join, take, to, unpack
from ..images import check_images, refuse_from_zero, refuse_shape, to_uint8
from ..rng import shuffled
from ..run import Data, Real, Run
from .progress import track

_kept: "WeakKeyDictionary[L.Trainer, dict[tuple, Any]]" = WeakKeyDictionary()


def run_of(trainer: L.Trainer, split: str) -> Run:
    """The run of a Trainer, with held-out images of "val" or "test"."""
    return Run(
        data_of(trainer),
        split,
        trainer.state.fn,
        trainer.global_step,
        bool(trainer.fast_dev_run),
        Path(trainer.log_dir or trainer.default_root_dir),
        trainer.global_rank,
        trainer.world_size,
        trainer.strategy.root_device,
        {"lightning": L.__version__},
        partial(track, trainer),
        _kept.setdefault(trainer, {}),
    )


def data_of(trainer: L.Trainer) -> Data:
    """The real images of a Trainer."""
    module = trainer.datamodule
    return Data(
        partial(_real_images, trainer),
        data_name(trainer),
        tuple(getattr(module, "class_names", ())),
        getattr(module, "data_protocol", {}),
        getattr(module, "unanswerable", {}),
    )


def forget(trainer: L.Trainer, *kinds: str) -> None:
    """Drops values of these kinds that the evaluations of a Trainer share."""
    kept = _kept.get(trainer, {})
    for key in [key for key in kept if key[0] in kinds]:
        del kept[key]


def results(trainer: L.Trainer) -> list[Any]:
    """The results of a Trainer's evaluations and pictures, in their order."""
    return [found for key, found in _kept.get(trainer, {}).items() if key[0] == "result"]


def _real_images(trainer: L.Trainer, split: str, limit: int) -> Real:
    """At most `limit` images of "train", "val" or "test", a random choice that is always the same.

    It uses the global random state if another library's DataModule does.
    """
    read_split = getattr(trainer.datamodule, "split", None)
    if callable(read_split):
        data = read_split(split)
        if hasattr(data, "take") and len(data) > limit:  # on the disk: only these are read
            data = data.take(_choose(len(data), limit))
        images, labels, y = data.images, data.labels, getattr(data, "conditions", None)
        y = None if y is labels else y
        if len(images) > limit:
            index = _choose(len(images), limit)
            images, labels = images[index], labels[index]
            y = None if y is None else take(y, index)
        return _checked(images, labels, split, y)
    return _read(trainer, split, limit)


def data_name(trainer: L.Trainer) -> str:
    """The name of the data in a report."""
    if trainer.datamodule is None:
        return "the given dataloaders"
    name = getattr(trainer.datamodule, "name", None)
    return name if isinstance(name, str) and name else type(trainer.datamodule).__name__


def _choose(total: int, limit: int) -> Tensor:
    if total <= limit:
        return torch.arange(total)
    return shuffled(total)[:limit].sort().values


def _read(trainer: L.Trainer, split: str, limit: int) -> Real:
    datamodule = trainer.datamodule
    images, conditions, count = [], [], 0
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
        conditions.append(y)
        count += len(x)
        if count >= limit:
            break
    if not count:
        raise ValueError(f"the {split} data must have images, got none")
    refuse_from_zero(min(low for _, low in images), f"the {split} data")
    x = torch.cat([x.cpu() for x, _ in images])[:limit]
    known = all(isinstance(part, Tensor) for y in conditions for part in _parts(y))
    y = take(to(join(conditions), "cpu"), slice(limit)) if known else None
    return _checked(x, y, split, y)


def refuse_shape_of(trainer: L.Trainer, model: L.LightningModule) -> None:
    """`refuse_shape` for the `image_shape` of the data and of the model."""
    for part in (trainer.datamodule, model):
        shape = getattr(part, "image_shape", None)
        if isinstance(shape, (tuple, list)):
            refuse_shape(shape)


def refuse_batch(trainer: L.Trainer, batch: Any) -> None:
    """`refuse_shape` for a first batch, if evaluations read the data batch by batch."""
    if callable(getattr(trainer.datamodule, "split", None)):
        return
    try:
        x, _ = unpack(batch)
    except TypeError:  # for example after a hook of the model, which evaluations do not use
        return
    refuse_shape(x.shape[1:])


def _parts(y: Any) -> list[Any]:
    return [*y.values()] if isinstance(y, Mapping) else [y]


def _checked(images: Tensor, labels: Any, split: str, y: Any = None) -> Real:
    refuse_shape(images.shape[1:])
    if images.ndim == 4 and images.dtype != torch.uint8:
        got = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"the {split} data must be images (N, C, H, W) or points, got {got}")
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        labels = None  # captions, images or attributes, not classes
    elif (labels < 0).all():
        labels = None
    return Real(images, labels, None if y is labels else y)


def _batches(loader: Any, limit: int):
    """The loader's batches in the data's own order; an iterator in use is not advanced."""
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
            datamodule.setup("fit")  # the test stage does not prepare training images
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
