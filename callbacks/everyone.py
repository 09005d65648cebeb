"""The report card of anybody's model in one call, as a notebook wants it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
from torch import Tensor, nn

from ..watch import watching
from ..zoo.elsewhere import GivenSamples, RealFolder, SampleFolder, Wrapped
from ..zoo.protocols import Bounded, Density, Sampler
from .card import Report
from .features import make_evaluable
from .progress import Parts, shown
from .report import ReportCard, evaluations


def report_card(
    model: Any,
    data: Any,
    folder: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Tests a model on the data's test images and says what was found: `report_card(...).print()`.

        report_card(model, FashionMNIST("data"))          a model
        report_card(generate, FashionMNIST("data"))       a function of n that gives n images
        report_card("drawn", FashionMNIST("data"))        images in a folder, .zip or .npz
        report_card("drawn", "real")                      against images in another

    The same numbers as `Trainer(callbacks=evaluations()).test(make_evaluable(model), data)`, and
    as `genzoo test`. Modes, weights and random state of the model are afterwards what they were.

    Args:
        model: Any LightningModule with `sample(n)`, or with `sample(n, y)` and `num_classes`; a
            function of n, as `genzoo.zoo.Wrapped`, which takes generators of latents too; a path,
            as `genzoo.zoo.SampleFolder`; or images, as `genzoo.zoo.GivenSamples`.
        data: A LightningDataModule that has the images that the model was trained on and others
            that were held out. Or a path or images, as `genzoo.zoo.RealFolder`: then nobody knows
            what the model was trained on, and the card says what cannot be asked.
        folder: Where report.html, report.md, report.json and the pictures are to lie; None: they
            are not kept, and the report has its pictures in `figures` only.
        progress: Whether parts that take over two seconds show how far they are: a bar on a
            terminal and in a notebook, lines in a log.
        settings: Those of `evaluations`.

    Raises:
        TypeError: the model can be asked nothing, or is none.
        ValueError: its samples are not images of the data's shape in [-1, 1].
    """
    with watching(shown) if progress else nullcontext():
        data = _data(data)
        model = _model(model, data)
    refuse_unaskable(model)
    *callbacks, card = evaluations(**settings)
    assert isinstance(card, ReportCard)
    card.shown = False
    with TemporaryDirectory() as passing, _quiet():
        trainer = L.Trainer(
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            default_root_dir=folder or passing,
            callbacks=[*callbacks, card, *([Parts()] if progress else [])],
        )
        trainer.test(make_evaluable(model), data, verbose=False)
    if folder is None:
        card.report.paths = {}
    return card.report


def refuse_unaskable(model: L.LightningModule, *others: type) -> None:
    """Refuses a model that no question of the report card can be asked.

    Args:
        others: Abilities that will do too.

    Raises:
        TypeError: it neither draws images nor has a likelihood.
    """
    if not isinstance(model, (Sampler, Density, Bounded, *others)):
        raise TypeError(
            f"a report card compares samples, but {type(model).__name__} has no sample(n), nor a "
            "log_prob(x) or elbo(x)"
        )


def _data(data: Any) -> L.LightningDataModule:
    if isinstance(data, L.LightningDataModule):
        return data
    if isinstance(data, (str, Path, Tensor, np.ndarray, list, tuple)):
        return RealFolder(data)
    raise TypeError(
        "data must be a LightningDataModule, or the path of real images or these themselves, got a "
        f"{type(data).__name__}"
    )


def _model(model: Any, data: L.LightningDataModule) -> L.LightningModule:
    shape = getattr(data, "image_shape", None)
    if isinstance(model, L.LightningModule):
        return model
    if isinstance(model, (str, Path)):
        return SampleFolder(str(model), shape)
    if isinstance(model, (Tensor, np.ndarray, list, tuple)):
        return GivenSamples(model, shape)
    if isinstance(model, nn.Module):
        name = type(model).__name__
        raise TypeError(
            f"report_card must know what {name} is to be given: Wrapped(model, latent_dim=...) for "
            "a module of latents, or a function of n"
        )
    if callable(model):
        return Wrapped(model, shape)
    raise TypeError(
        "model must be a LightningModule with sample(n), a function of n, a path or images, got a "
        f"{type(model).__name__}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's list of devices and its advice on loaders; other warnings stay."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for start in (
                "The '.*_dataloader' does not have many workers",
                "`isinstance\\(treespec",
            ):
                warnings.filterwarnings("ignore", message=f"\\s*{start}")
            yield
    finally:
        logger.setLevel(before)
