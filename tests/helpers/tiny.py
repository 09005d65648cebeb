"""What a model's test module says of the model, for the tests that all models share."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from genzoo.zoo.base import GenerativeModel
from tests.helpers.training import bits, loader


def batches_of_labels() -> DataLoader:
    return loader(bits(24))


def batches_of_views() -> DataLoader:
    """As `Chairs` gives them: type, azimuth and elevation."""
    x, y = loader(bits(24)).dataset.tensors
    y = torch.stack((y, torch.arange(24) * 15, torch.full((24,), 20)), dim=1).float()
    return DataLoader(TensorDataset(x, y), 8)


@dataclass(frozen=True)
class Tiny:
    """A model as small as it goes, and in what it is an exception.

    A module tests/zoo/<family>/test_<paper>.py has one as `TINY`, or a tuple of several.

    Args:
        model: The class.
        settings: Of its constructor, beside `image_shape` and `num_classes`.
        abilities: Of `genzoo.protocols`, all that it has.
        needs_classes: Whether there is no such model without classes.
        draws_classes: Whether `sample` takes labels when it is trained with some.
        draws_noise: Whether training draws random numbers.
        bound_above_a_nat: Whether the bound of an untrained model is above -1 nat a pixel.
        last_bias_moves: Whether the discriminator's last bias has a gradient.
        batches: What it is trained on.
        needs: The error, a regular expression, where images come alone, if not that of classes.
        sampling_players: Whose losses teach the network that makes samples of the prior.
        late_players: Who does not play in the first steps.
        own_rates: Learning rates, by player, that neither `lr` nor `d_lr` and `g_lr` set.
        eager: Networks that run as they are written where others are compiled.
        refuses: What the error says of an option of discriminators that it cannot take, by option.
        waits: Parts of the lines where a step may wait for a GPU.
        variant: Settings with which it is once more tried on a GPU that is pretended.
    """

    model: type[GenerativeModel]
    settings: dict[str, Any]
    abilities: Set[type]
    needs_classes: bool = False
    draws_classes: bool = True
    draws_noise: bool = True
    bound_above_a_nat: bool = True
    last_bias_moves: bool = True
    batches: Callable[[], DataLoader] = batches_of_labels
    needs: str = ""
    sampling_players: tuple[str, ...] = ("generator",)
    late_players: Set[str] = frozenset()
    own_rates: dict[str, float] = field(default_factory=dict)
    eager: Set[str] = frozenset()
    refuses: dict[str, str] = field(default_factory=dict)
    waits: tuple[str, ...] = ()
    variant: dict[str, Any] = field(default_factory=dict)
