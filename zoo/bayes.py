"""Bayes' rule: a classifier from a density, which also detects unusual images.

A class-conditional density and the classes' frequencies make a classifier (Ng and Jordan, 2001,
https://proceedings.neurips.cc/paper/2001/hash/7b7a53e239400a13bd6be6c91c4f6c4e-Abstract.html),

    p(y|x) = p(x|y) p(y) / p(x),        p(x) = sum_y p(x|y) p(y).

A classifier that learns p(y|x) alone assigns a class to every input; p(x) also measures whether the
input is plausible. Only p(x) does so: the log-odds of images are tens of nats, so p(y|x) is as
certain for noise as for a digit.

A low p(x) is not the only sign of an outlier. Simple images are more likely than real ones
(Nalisnick et al., 2018, https://arxiv.org/abs/1810.09136): an empty page has a higher p(x) than any
digit. Images of the data are typical, with log p(x) near its mean, neither low nor high (Nalisnick
et al., 2019, https://arxiv.org/abs/1906.02994). Outliers with such a log p(x) remain, and a
distance to the training images detects some of them. Likelihood alone does not detect outliers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..checks import at_least
from ..images import to_levels
from ..modes import evaluating
from ..protocols import Density

SCORES = ("L", "T", "kNN")
CHUNK = 500  # images of one class in a pass


class BayesClassifier(nn.Module):
    """Classifies images by a class-conditional density, and rejects outliers.

    Scores of outliers, higher for stranger images:
        "L": -log p(x). Low likelihood; simple images pass.
        "T": |log p(x) - its mean over validation images|. Typicality, two-sided.
        "kNN": the distance to the k-th nearest training image, in features.

    >>> x, y = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1), torch.tensor([0, 1])
    >>> BayesClassifier(IndependentPixels(x, y, levels=2)).predict_proba(x)
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]])

    Args:
        model: A model with `log_prob(x, y)` in nats, and `num_classes`.
        prior: p(y), (K,) positive numbers, scaled to sum to 1; None: a uniform prior.
        features: A function from images to vectors (B, d), in which "kNN" measures distances;
            None: pixels.
        neighbours: The k of "kNN".

    Raises:
        TypeError: the model has no `log_prob`.
        ValueError: the model is not class-conditional, or an argument is impossible.
    """

    def __init__(
        self,
        model: Density,
        prior: Tensor | Sequence[float] | None = None,
        features: Callable[[Tensor], Tensor] | None = None,
        neighbours: int = 5,
    ):
        super().__init__()
        if not isinstance(model, Density):
            raise TypeError(
                f"{type(model).__name__} has no log_prob(x, y): Bayes' rule needs a density"
            )
        classes = getattr(model, "num_classes", 0)
        if classes < 2:
            raise ValueError(f"model.num_classes must be at least 2, got {classes}")
        at_least(1, neighbours=neighbours)
        prior = torch.ones(classes) if prior is None else torch.as_tensor(prior).float()
        if prior.shape != (classes,) or not (prior > 0).all():
            raise ValueError(f"prior must be {classes} positive numbers, got {prior.tolist()}")
        self.model, self.num_classes, self.neighbours = model, classes, neighbours
        self.features = features or (lambda x: x.flatten(1))
        self.register_buffer("log_prior", (prior / prior.sum()).log())
        self.mean: float | None = None  # of log p(x) of validation images
        self.thresholds: dict[str, float] = {}
        self.known: Tensor | None = None  # features of training images (N, d)

    # The rule

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, y) of all classes, (B, K) nats, by a pass for each class."""
        with evaluating(self):
            return torch.cat([self._log_joint(part) for part in x.split(CHUNK)])

    def _log_joint(self, x: Tensor) -> Tensor:
        labels = torch.arange(self.num_classes, device=x.device)
        nats = [self.model.log_prob(x, label.expand(len(x))) for label in labels]
        return torch.stack(nats, dim=1) + self.log_prior.to(x.device)

    def log_marginal(self, x: Tensor) -> Tensor:
        """log p(x), (B,) nats."""
        return self.log_joint(x).logsumexp(1)

    def predict_proba(self, x: Tensor) -> Tensor:
        """p(y|x), (B, K)."""
        return self.log_joint(x).softmax(1)

    # Rejection

    def calibrate(
        self, validation: Tensor, train: Tensor | None = None, refused: float = 0.01
    ) -> "BayesClassifier":
        """Sets the threshold of each score so that a share of the validation images is rejected.

        Args:
            validation: Images on which the model was not trained, without outliers.
            train: Images to which "kNN" measures distances; None: "kNN" is not used.
            refused: The share of validation images that is rejected.
        """
        if not 0 < refused < 1:
            raise ValueError(f"refused must be between 0 and 1, got {refused}")
        nats = self.log_marginal(validation)
        self.mean = nats.mean().item()
        strange = {"L": -nats, "T": (nats - self.mean).abs()}
        self.known = None
        if train is not None:
            if len(train) < self.neighbours:
                raise ValueError(
                    f"train must be at least {self.neighbours} images, got {len(train)}"
                )
            self.known = self._features(train)
            strange["kNN"] = self.strangeness(validation, "kNN")
        self.thresholds = {
            score: values.double().quantile(1 - refused).item() for score, values in strange.items()
        }
        return self

    def strangeness(self, x: Tensor, score: str = "T") -> Tensor:
        """A score (B,) of images, higher for stranger ones; "L" and "T" in nats.

        Raises:
            ValueError: the score is unknown, or needs `calibrate` first.
        """
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        if score == "L":
            return -self.log_marginal(x)
        if score == "T":
            if self.mean is None:
                raise ValueError("score must be 'L' before calibrate(validation), got 'T'")
            return (self.log_marginal(x) - self.mean).abs()
        if self.known is None:
            raise ValueError("score 'kNN' must be given training images: calibrate(.., train)")
        parts = self._features(x).split(CHUNK)
        k = self.neighbours
        nearest = [torch.cdist(part, self.known).topk(k, largest=False) for part in parts]
        return torch.cat([found.values[:, -1] for found in nearest])

    def reject(self, x: Tensor, *scores: str) -> Tensor:
        """Whether a score of an image is above its threshold, (B,) bool.

        Args:
            scores: "L", "T", "kNN"; none: "T", and "kNN" if `calibrate` got training images.
        """
        if not self.thresholds:
            raise ValueError("thresholds must be set by calibrate(validation) before reject")
        scores = scores or tuple(score for score in self.thresholds if score != "L")
        found = [self.strangeness(x, score) > self.thresholds[score] for score in scores]
        return torch.stack(found).any(0)

    def _features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.features(part) for part in x.split(CHUNK)])


class IndependentPixels(nn.Module):
    """Naive Bayes' density: given the class, pixels are independent, with the frequencies of levels
    in the training images.

    It is the baseline of densities that model context.

    Args:
        x: Training images (B, C, H, W) in [-1, 1].
        y: Labels (B,) of the training images, in 0..K-1.
        levels: Number of values of a pixel; 1 is added to the count of each.
    """

    def __init__(self, x: Tensor, y: Tensor, levels: int):
        super().__init__()
        self.levels, self.num_classes = levels, int(y.max()) + 1
        one_hot = nn.functional.one_hot(to_levels(x, levels), levels)  # (B, C, H, W, L)
        counts = [one_hot[y == label].sum(0) + 1 for label in range(self.num_classes)]
        chance = torch.stack([count / count.sum(-1, keepdim=True) for count in counts])
        self.register_buffer("log_chance", chance.log())  # (K, C, H, W, L)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats."""
        if y is None:
            raise ValueError(f"y must be labels in 0..{self.num_classes - 1}, got None")
        level = to_levels(x, self.levels)[..., None]
        return self.log_chance[y].gather(-1, level).flatten(1).sum(1)
