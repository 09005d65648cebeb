"""What an evaluation looks at: images of three kinds, and what an extractor makes of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .extractors import Extractor


@dataclass
class Features:
    """Images and what an extractor sees of them.

    Args:
        images: uint8 (N, C, H, W); points are float32 (N, D).
        features: float32 (N, d).
        logits: float32 (N, K), where the extractor is a classifier.
        labels: int64 (N,), where there are labels; of samples, those that were asked for.
    """

    images: Tensor
    features: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Evidence:
    """All that an evaluation may look at: on the CPU, the same on every rank.

    Args:
        train: What the model was trained on.
        held_out: Of the validation split during fit and validate, of the test split in test.
        generated: What the model draws.
        protocol: What must be known to repeat the numbers.
        through: Gives the same images through another extractor, by its name; None: there is no
            other to be had.
        findings: What one evaluation has to tell those after it, by a word.
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
        """A flag and a verdict in the light of what was found before: of samples that are
        near-duplicates of the held-out images a comparison of the two says nothing, and
        copies look as real and as diverse as what they are copies of."""
        if leak := self.findings.get("leak"):
            return "unsure", f"Cannot be said: {leak}. Check the split, and test again."
        if flag != "bad" and (copies := self.findings.get("copies")):
            return flag, f"{verdict} But {copies}: see the first answer."
        return flag, verdict


class Known:
    """What an evaluation found of some tensors, until it is asked about others.

    Attributes:
        found: Of those that it was asked about last, by a key.
    """

    def __init__(self) -> None:
        self.found: dict[Any, Any] = {}
        self._of: tuple[Tensor, ...] = ()

    def about(self, *tensors: Tensor) -> dict[Any, Any]:
        """What is known of these very tensors, and not of others with the same values."""
        known = len(tensors) == len(self._of)
        if not (known and all(a is b for a, b in zip(tensors, self._of, strict=True))):
            self._of, self.found = tensors, {}
        return self.found
