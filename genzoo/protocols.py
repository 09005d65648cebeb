"""Abilities of models: an ability is a method that exists, never a base class.

Callbacks check `isinstance(model, Sampler)` and use nothing else of a model, so they work with any
module that has these methods. Legend: B batch, C channels, H, W, D latent, K classes, n samples.
Images are float32 in [-1, 1], labels int64 (-1 for unlabelled images). y are the conditions of a
conditional model: labels (n,), or another kind of `genzoo.conditions`.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Sampler(Protocol):
    """A model that generates images."""

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W); without y a conditional model draws random conditions."""
        ...


@runtime_checkable
class Finite(Protocol):
    """A finite set of images in a fixed order, such as external samples.

    Evaluations use each image at most once, from the first on, and fewer images than their
    `num_samples` if there are not enough. A `Sampler`, which is called for each block of images,
    could not avoid repeats.
    """

    num_available: int

    def sample_at(self, start: int, n: int) -> Tensor:
        """Images start..start+n-1, (n, C, H, W)."""
        ...

    def labels_at(self, start: int, n: int) -> Tensor | None:
        """The labels of these images (n,), or None for images without labels."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A model that generates images from latents: `sample` is `decode` of `prior`."""

    def prior(self, n: int) -> Tensor:
        """Random latents (n, D)."""
        ...

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents (n, D)."""
        ...


@runtime_checkable
class Interpolator(Protocol):
    """A model with its own interpolation between latents."""

    def interpolate(self, z0: Tensor, z1: Tensor, steps: int = 9, mode: str = "slerp") -> Tensor:
        """Images (n, steps, C, H, W) between latents z0 and z1 (n, D), both ends included."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """A model that computes latents of images."""

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (B, D) of images (B, C, H, W)."""
        ...


@runtime_checkable
class Density(Protocol):
    """A model with an exact likelihood."""

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Log-probabilities (B,) in nats, of the discrete levels, summed over pixels."""
        ...


@runtime_checkable
class Estimated(Protocol):
    """A model whose normaliser may be an intractable sum, which can be estimated."""

    tractable: bool  # whether its log_prob, and its elbo if it has one, can be computed

    def log_prob_ais(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Estimates (B,) in nats by annealed importance sampling: neither exact nor a bound."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A model with a lower bound of its log-likelihood."""

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Lower bounds (B,) of the log-likelihood, in nats."""
        ...


@runtime_checkable
class ImportanceWeighted(Protocol):
    """A model with a lower bound that is tighter for more draws of the latent."""

    def importance_weighted(self, x: Tensor, y: Tensor | None = None, samples: int = 50) -> Tensor:
        """Lower bounds (B,) of the log-likelihood, in nats, from `samples` draws for each image."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """A model that classifies images."""

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities (B, K) of images (B, C, H, W)."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A model with a raw score of images, on its own scale, such as a discriminator's."""

    def score(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Scores (B,) of images (B, C, H, W), higher for data."""
        ...


@runtime_checkable
class Completer(Protocol):
    """A model that completes images of which a part is known."""

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Images x (B, C, H, W), generated where the mask (B, 1, H, W) is 0, unchanged where 1."""
        ...


@runtime_checkable
class Filtering(Protocol):
    """A model with units that are connected to all pixels."""

    def filters(self) -> Tensor:
        """The weights of these units, (units, C, H, W), of any scale."""
        ...


@runtime_checkable
class Translator(Protocol):
    """A model that translates images from one domain to the other."""

    def translate(self, x: Tensor, to: int) -> Tensor:
        """Images x of the other domain, translated to domain `to`, 0 or 1."""
        ...


Judge = Scorer  # its earlier name
