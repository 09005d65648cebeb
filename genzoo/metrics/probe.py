"""Accuracy of a linear classifier on features of a few labelled images.

The fewer the labels, the more the accuracy depends on the features. Baselines that need no encoder
are the pixels, their principal components, and a random projection of them.
"""

import warnings

import torch
from torch import Tensor

PENALTIES = tuple(10.0**k for k in range(-4, 2))  # candidates for sklearn's C
Split = tuple[Tensor, Tensor]  # features (N, d) and labels (N,)


def linear_probe(
    train: Split, test: Split, num_labels: int = 0, draws: int = 5, seed: int = 0
) -> Tensor:
    """Accuracies of multinomial logistic regression on features, (draws,), float64.

    Each draw takes a random subset of the labelled images, with classes as even as possible. The L2
    penalty is chosen by the likelihood of a fifth of the subset; then the whole subset is used.
    Features are centred and divided by one number, which keeps the ratios of their variances.

    Args:
        train: Features (N, d) and their labels (N,) in 0..K-1; all features are used for scaling.
        test: Features and labels of held-out images.
        num_labels: Number of labelled images in a draw; 0: all, and then there is one draw only.
        draws: Number of draws.
        seed: Seed of the draws.

    Raises:
        ValueError: if `num_labels` is below two per class or above N.
    """
    (x, y), (x_test, y_test) = train, test
    num_labels, draws = (num_labels, draws) if num_labels else (len(x), 1)
    classes = len(y.unique())
    if classes < 2:
        raise ValueError(f"train must have labels of at least 2 classes, got {classes}")
    if not 2 * classes <= num_labels <= len(x):
        span = f"{2 * classes}, two of each class, to {len(x)}, all"
        raise ValueError(f"num_labels must be from {span}, got {num_labels}")
    mean, scale = x.double().mean(0), x.double().std(0, correction=0).square().mean().sqrt()
    x, x_test = ((part.double() - mean) / scale.clamp(min=1e-12) for part in (x, x_test))
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        order = _class_by_class(y, generator)[:num_labels]
        found.append(_accuracy(x[order], y[order], x_test, y_test))
    return torch.tensor(found, dtype=torch.float64)


def _class_by_class(y: Tensor, generator: torch.Generator) -> Tensor:
    """A random order (N,) in which the classes take turns, as long as they have images left."""
    order = torch.randperm(len(y), generator=generator)
    member = y[order][:, None] == y.unique()  # (N, K)
    turn = member.cumsum(0)[member]  # rank of the image in its class
    return order[turn.sort(stable=True).indices]


def _accuracy(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fitted(penalty: float, count: int) -> LogisticRegression:
        model = LogisticRegression(C=penalty, max_iter=200)
        return model.fit(x[:count].numpy(), y[:count].numpy())

    used = len(x) - len(x) // 5
    likelihood = {}
    with warnings.catch_warnings():
        # The weakest penalties do not converge in 200 steps; they are not the ones chosen.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in PENALTIES:
            model = fitted(penalty, used)
            log_prob = model.predict_log_proba(x[used:].numpy())
            place = {label: i for i, label in enumerate(model.classes_.tolist())}
            own = [place[label] for label in y[used:].tolist()]
            likelihood[penalty] = log_prob[range(len(own)), own].mean()
        model = fitted(max(likelihood, key=likelihood.get), len(x))
    return float(model.score(x_test.numpy(), y_test.numpy()))


def baselines(train: Tensor, test: Tensor, size: int, seed: int = 0) -> dict[str, Split]:
    """Features that need no training, of flat training and test images (N, P), by name.

    Args:
        size: Number of features of "pca", at most P, and of "random_projection".
    """
    _, vectors = torch.linalg.eigh(train.double().T.cov())  # ascending
    components = vectors[:, -size:].to(train)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(train.shape[1], size, generator=generator).to(train)
    return {
        "pixels": (train, test),
        "pca": (train @ components, test @ components),
        "random_projection": (train @ random, test @ random),
    }
