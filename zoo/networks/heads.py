"""Heads: further outputs of a discriminator besides its score, computed from the same features.

Some papers need classes, codes or the features themselves. They can use any discriminator whose
last layer computes the score: this layer is removed, and linear heads take its place. The layer is
the discriminator's attribute `score`, or else the only layer with one output.
"""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Heads(nn.Module):
    """A discriminator's body with a score and further named heads on top.

    >>> heads = Heads(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 1)), classes=3)
    >>> {name: tuple(head.shape) for name, head in heads.outputs(torch.zeros(2, 1, 4, 4)).items()}
    {'classes': (2, 3), 'score': (2,), 'features': (2, 8)}
    >>> heads(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2])

    Args:
        discriminator: A network whose last layer, `score`, linear or convolutional, gives scores
            (B,). The score head starts with the weights of this layer.
        score: Whether there is a score head; False: the named heads only.
        outputs: Number of outputs of each further head, by its name.

    Attributes:
        num_features: F, features of an image that are the input of the heads.
    """

    def __init__(self, discriminator: nn.Module, score: bool = True, **outputs: int):
        super().__init__()
        name, last = score_layer(discriminator)
        discriminator.set_submodule(name, nn.Flatten())
        self.body = discriminator
        self.num_features = last.weight[0].numel()
        heads = {name: nn.Linear(self.num_features, n) for name, n in outputs.items()}
        if score:
            heads["score"] = nn.Linear(self.num_features, 1)
            heads["score"].weight.data.copy_(last.weight.data.flatten(1))
            if last.bias is not None:
                heads["score"].bias.data.copy_(last.bias.data)
        self.heads = nn.ModuleDict(heads)

    def features(self, *inputs: Tensor) -> Tensor:
        """Features (B, F) of the discriminator's inputs: images, or images and labels."""
        # A body that flattens its scores flattens the features too; those of an image are adjacent.
        return self.body(*inputs).reshape(len(inputs[0]), -1)

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The output of each head by its name, (B, outputs), the score as (B,); and `features`."""
        features = self.features(*inputs)
        found = {name: head(features) for name, head in self.heads.items()}
        if "score" in found:
            found["score"] = found["score"].squeeze(1)
        return {**found, "features": features}

    def judge(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The earlier name of `outputs`."""
        return self.outputs(*inputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Raw scores (B,)."""
        return self.heads["score"](self.features(*inputs)).squeeze(1)


def score_layer(discriminator: nn.Module) -> tuple[str, nn.Module]:
    """The layer that computes the score, and its name within the discriminator.

    Raises:
        ValueError: no layer has one output, or several do and none of them is called `score`.
    """
    layers = {
        module: name
        for name, module in discriminator.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    named = [getattr(module, "score", None) for module in discriminator.modules()]
    found = [layer for layer in named if isinstance(layer, nn.Module) and layer in layers]
    found = found or [layer for layer in layers if len(layer.weight) == 1]
    if len(found) != 1 or len(found[0].weight) != 1:
        kind = type(discriminator).__name__
        got = f"{found[0]}" if len(found) == 1 else f"{len(found)} such layers in {kind}"
        raise ValueError(
            "discriminator must end in a linear or convolutional layer with one output, and call "
            f"it score if others have one, too, got {got}"
        )
    return layers[found[0]], found[0]


class LogOdds(nn.Linear):
    """Logits of which one is compared with the others.

    The slope of the difference of two logits is up to sqrt(2) times that of one logit. Under
    spectral normalisation the logits are scaled so that the difference has a slope of at most 1.
    """

    gain = 1.0

    @classmethod
    def of(cls, linear: nn.Linear) -> "LogOdds":
        """Logits with the weights of a linear layer."""
        logits = cls(linear.in_features, linear.out_features)
        logits.weight, logits.bias = linear.weight, linear.bias
        return logits

    def limit_slope(self) -> None:
        """Scales the logits, so that the difference of two has a slope of at most 1."""
        self.gain = 0.5**0.5

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.gain == 1 else super().forward(x * self.gain)


def labelled_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the images that have a label, y >= 0; 0 if none has.

    >>> labelled_cross_entropy(torch.zeros(2, 4), torch.tensor([1, -1]))  # log 4
    tensor(1.3863)
    """
    nats = cross_entropy(logits, y, ignore_index=-1, reduction="sum")
    return nats / (y >= 0).sum().clamp(min=1)


def without_label(y: Tensor) -> Tensor:
    """(B,) bool: the images that are real data in a semi-supervised game: the unlabelled ones, or
    all if each image has a label.

    Labelled images are few and repeated often, so the discriminator would memorise them as data.

    >>> without_label(torch.tensor([-1, 2])), without_label(torch.tensor([1, 2]))
    (tensor([ True, False]), tensor([True, True]))
    """
    unknown = y < 0
    return unknown | ~unknown.any()
