"""Bayes' rule: a classifier out of a density, which also knows what it has never seen.

A class-conditional density and the classes' frequencies make a classifier (Ng and Jordan, 2001,
https://proceedings.neurips.cc/paper/2001/hash/7b7a53e239400a13bd6be6c91c4f6c4e-Abstract.html),

    p(y|x) = p(x|y) p(y) / p(x),        p(x) = sum_y p(x|y) p(y),

and where one that learns p(y|x) alone must name a class whatever it is shown, p(x) says whether
the image is reasonable at all. It is the only part that does: log-odds of images are tens of
nats, so that p(y|x) is as sure of noise as of a digit.

A low p(x) is not the whole of being strange. Simple images are likelier than real ones (Nalisnick
et al., 2018, https://arxiv.org/abs/1810.09136): an empty page scores higher than any digit though
nobody wrote it. Images of the data are typical, with log p(x) near its mean, neither low nor high
(Nalisnick et al., 2019, https://arxiv.org/abs/1906.02994). Even that lets through what happens to
be as likely, and a distance to the training images catches some of it. Likelihood alone does not
detect outliers.
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
    """Labels images by a class-conditional density, and rejects unreasonable ones.

    Scores of strangeness, of which more is stranger:
        "L": -log p(x). Low likelihood; simple images pass.
        "T": |log p(x) - its mean over validation images|. Typicality, two-sided.
        "kNN": the distance to the k-th nearest training image, in features.

    Args:
        model: What has `log_prob(x, y)` in nats, and `num_classes`.
        prior: p(y), (K,) positive numbers, scaled to sum to 1; None: all alike.
        features: Images to vectors (B, d), where "kNN" measures; None: their pixels.
        neighbours: k.

    Raises:
        TypeError: the model has no `log_prob`.
        ValueError: it is not class-conditional, or an argument is impossible.
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
        """log p(x, y) of all classes, (B, K) nats; as many passes as classes."""
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
        """Sets each score's threshold so that it refuses a share of the validation images.

        Args:
            validation: Images that the model was not trained on. Outliers have no say.
            train: Images whose neighbourhood "kNN" trusts; None: do without that score.
            refused: The share.
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
        """(B,), more is stranger; "L" and "T" in nats.

        Raises:
            ValueError: the score is unknown, or what it needs is: see `calibrate`.
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
        """Whether any of the scores finds an image stranger than its threshold, (B,) bool.

        Args:
            scores: "L", "T", "kNN"; none: "T", and "kNN" if `calibrate` was given its images.
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
    """Naive Bayes' density: a pixel's levels are as frequent as in its class, whatever the others.

    The baseline of every density that looks at context.

    Args:
        x: Training images (B, C, H, W) in [-1, 1].
        y: Their labels (B,) in 0..K-1.
        levels: Values of a pixel. Each counts as seen once more than it was.
    """

    def __init__(self, x: Tensor, y: Tensor, levels: int):
        super().__init__()
        self.levels, self.num_classes = levels, int(y.max()) + 1
        seen = nn.functional.one_hot(to_levels(x, levels), levels)  # (B, C, H, W, L)
        counts = [seen[y == label].sum(0) + 1 for label in range(self.num_classes)]
        chance = torch.stack([count / count.sum(-1, keepdim=True) for count in counts])
        self.register_buffer("log_chance", chance.log())  # (K, C, H, W, L)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats."""
        if y is None:
            raise ValueError(f"y must be labels in 0..{self.num_classes - 1}, got None")
        level = to_levels(x, self.levels)[..., None]
        return self.log_chance[y].gather(-1, level).flatten(1).sum(1)
