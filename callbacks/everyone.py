"""The report card of anybody's model in one call, as a notebook wants it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L

from ..zoo.protocols import Sampler
from .card import Report
from .features import make_evaluable
from .report import ReportCard, evaluations


def report_card(
    model: L.LightningModule,
    data: L.LightningDataModule,
    folder: str | Path | None = None,
    **settings: Any,
) -> Report:
    """Tests a model on the data's test images and says what was found: `report_card(...).print()`.

    The same numbers as `Trainer(callbacks=evaluations()).test(make_evaluable(model), data)`, and
    as `genzoo test`. Modes, weights and random state of the model are afterwards what they were.

    Args:
        model: Any LightningModule with `sample(n)`, or with `sample(n, y)` and `num_classes`;
            anything else that draws images as a `genzoo.zoo.Wrapped`.
        folder: Where report.html, report.md, report.json and the pictures are to lie; None: they
            are not kept, and the report has its pictures in `figures` only.
        settings: Those of `evaluations`.

    Raises:
        TypeError: the model has no `sample`.
        ValueError: its samples are not images of the data's shape in [-1, 1].
    """
    if not isinstance(model, Sampler):
        raise TypeError(
            f"report_card compares samples, but {type(model).__name__} has no sample(n)"
        )
    *callbacks, card = evaluations(**settings)
    assert isinstance(card, ReportCard)
    card.shown = False
    with TemporaryDirectory() as passing, _quiet():
        trainer = L.Trainer(
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder or passing,
            callbacks=[*callbacks, card],
        )
        trainer.test(make_evaluable(model), data, verbose=False)
    if folder is None:
        card.report.paths = {}
    return card.report


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
