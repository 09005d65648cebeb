"""The inputs of an evaluation: training, held-out and generated images with their features."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .extractors import Extractor


@dataclass
class Features:
    """Images and their features.

    Args:
        images: uint8 (N, C, H, W); points are float32 (N, D).
        features: float32 (N, d).
        logits: float32 (N, K), if the extractor is a classifier.
        labels: int64 (N,), if there are labels; those of samples are the model's conditions.
    """

    images: Tensor
    features: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Evidence:
    """All inputs of an evaluation: on the CPU, the same on every rank.

    Args:
        train: Training images.
        held_out: Images of the validation split during fit and validate, of the test split in test.
        generated: Samples of the model.
        extractor: The network that the features come from.
        protocol: Settings and versions that are needed to repeat the numbers.
        class_names: Names of the classes, if the data has them.
        through: Gives the evidence of the same images by another extractor, from its name; None:
            no other extractor is available.
        findings: Phrases that one evaluation leaves for later ones, by a key: "leak", "copies".
    """

    train: Features
    held_out: Features
    generated: Features
    extractor: Extractor
    protocol: dict[str, str | int | float]
    class_names: tuple[str, ...] = ()
    through: "Callable[[str | nn.Module], Evidence] | None" = None
    findings: dict[str, str] = field(default_factory=dict)

    def qualified(self, flag: str, verdict: str) -> tuple[str, str]:
        """A flag and a verdict, changed by the findings of earlier evaluations: held-out images
        that leaked into training are no fair reference, and copies are as realistic and as diverse
        as their sources."""
        if leak := self.findings.get("leak"):
            return "unsure", f"Cannot be said: {leak}. Check the split, and test again."
        if flag != "bad" and (copies := self.findings.get("copies")):
            return flag, f"{verdict} But {copies}: see the first answer."
        return flag, verdict


class Known:
    """A cache of results about some tensors, which is emptied when it is used with other tensors.

    Attributes:
        found: Results about the tensors of the last call, by a key.
    """

    def __init__(self) -> None:
        self.found: dict[Any, Any] = {}
        self._of: tuple[Tensor, ...] = ()

    def about(self, *tensors: Tensor) -> dict[Any, Any]:
        """The results about these tensors, which are compared by identity and not by values."""
        known = len(tensors) == len(self._of)
        if not (known and all(a is b for a, b in zip(tensors, self._of, strict=True))):
            self._of, self.found = tensors, {}
        return self.found
