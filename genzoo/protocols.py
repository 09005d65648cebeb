"""What a model can do: an ability is a method that exists, never a base class.

Callbacks ask `isinstance(model, Sampler)` and know nothing else of a model, so anybody's module
with these methods is served. Legend: B batch, C channels, H, W, D latent, K classes, n samples.
Images are float32 in [-1, 1], labels int64 (-1 where unlabelled). y is what a conditional model is
given of each image: labels (n,), or any other kind of `genzoo.conditions`.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Sampler(Protocol):
    """Draws images."""

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """(n, C, H, W); without y a conditional model draws conditions at random."""
        ...


@runtime_checkable
class Finite(Protocol):
    """Has so many images and no more, in an order of its own.

    Evaluations look at the first of them, at each once, and at fewer than they are set to where
    there are not enough: a sampler that is asked block by block cannot know what it gave before.
    """

    num_available: int

    def sample_at(self, start: int, n: int) -> Tensor:
        """Images start..start+n-1 of the order, (n, C, H, W)."""
        ...

    def labels_at(self, start: int, n: int) -> Tensor | None:
        """Their labels (n,), or None where there are none."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Draws images through a latent: `sample` is `decode` of `prior`."""

    def prior(self, n: int) -> Tensor:
        """(n, D)"""
        ...

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """(n, D) to (n, C, H, W)."""
        ...


@runtime_checkable
class Interpolator(Protocol):
    """Walks from one latent to another."""

    def interpolate(self, z0: Tensor, z1: Tensor, steps: int = 9, mode: str = "slerp") -> Tensor:
        """(n, D) twice to (n, steps, C, H, W), end points included."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Finds the latent of an image again."""

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, D)."""
        ...


@runtime_checkable
class Density(Protocol):
    """Has an exact likelihood."""

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats: the log-probability of the discrete levels, summed over pixels."""
        ...


@runtime_checkable
class Estimated(Protocol):
    """Has a likelihood with a normaliser that may be too large to sum, and can be estimated."""

    tractable: bool  # whether its log_prob, and its elbo if it has one, can be computed

    def log_prob_ais(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats, by annealed importance sampling: neither exact nor a bound."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """Has a lower bound of its likelihood."""

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats."""
        ...


@runtime_checkable
class ImportanceWeighted(Protocol):
    """Has a lower bound that many draws of its latent tighten."""

    def importance_weighted(self, x: Tensor, y: Tensor | None = None, samples: int = 50) -> Tensor:
        """(B,) nats."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Names what it sees."""

    def predict_proba(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K), rows summing to 1."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Scores how much an image is like data, on a scale of its own."""

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B,), higher for data."""
        ...


@runtime_checkable
class Completer(Protocol):
    """Fills in what is hidden."""

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) with the pixels where mask (B, 1, H, W) is 1 left as they are."""
        ...


@runtime_checkable
class Filtering(Protocol):
    """Has units that look at whole images."""

    def filters(self) -> Tensor:
        """Their weights, (units, C, H, W), of any size and sign."""
        ...


@runtime_checkable
class Translator(Protocol):
    """Carries images from one domain to the other."""

    def translate(self, x: Tensor, to: int) -> Tensor:
        """Images of domain `to`, 0 or 1."""
        ...


Judge = Scorer  # its name of before
