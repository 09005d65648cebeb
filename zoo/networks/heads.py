"""Heads: what a discriminator says besides its score, from the same features.

A paper that asks for classes, for codes or for the features themselves takes any discriminator
whose last layer makes its score: that layer comes off, and linear heads stand in its place. Which
it is, the discriminator says by the name `score`, or it is the only one with one output.
"""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Heads(nn.Module):
    """A discriminator's body under a score and under as many more heads as are named.

    Args:
        discriminator: Gives (B,) scores by its last layer, `score`, linear or convolutional, whose
            weights the score here goes on with.
        score: False: no score, only the heads that are named.
        outputs: Entries of each head, by name.

    Attributes:
        num_features: F, what the heads see of an image.
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

    def features(self, *seen: Tensor) -> Tensor:
        """(B, F), of what the discriminator sees: images, or images and labels."""
        # A body that flattened its scores has flattened these; image by image they lie together.
        return self.body(*seen).reshape(len(seen[0]), -1)

    def judge(self, *seen: Tensor) -> dict[str, Tensor]:
        """Each head by name, (B, outputs), the score as (B,), and the features beside them."""
        features = self.features(*seen)
        said = {name: head(features) for name, head in self.heads.items()}
        if "score" in said:
            said["score"] = said["score"].squeeze(1)
        return {**said, "features": features}

    def forward(self, *seen: Tensor) -> Tensor:
        """Raw scores (B,)."""
        return self.heads["score"](self.features(*seen)).squeeze(1)


def score_layer(discriminator: nn.Module) -> tuple[str, nn.Module]:
    """The layer that makes the score, and its name within the discriminator.

    Raises:
        ValueError: none has one output, or several have and none is called `score`.
    """
    layers = {
        module: name
        for name, module in discriminator.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    called = [getattr(module, "score", None) for module in discriminator.modules()]
    found = [layer for layer in called if isinstance(layer, nn.Module) and layer in layers]
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
    """Logits one of which is set against the others: the difference of two is up to sqrt(2) times
    as steep as they are, which a spectrally normal network makes up for here."""

    gain = 1.0

    @classmethod
    def of(cls, linear: nn.Linear) -> "LogOdds":
        """With the weights of a linear layer."""
        logits = cls(linear.in_features, linear.out_features)
        logits.weight, logits.bias = linear.weight, linear.bias
        return logits

    def limit_slope(self) -> None:
        self.gain = 0.5**0.5

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.gain == 1 else super().forward(x * self.gain)


def labelled_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean nats over the images that have a label, y >= 0; 0 where none has."""
    nats = cross_entropy(logits, y, ignore_index=-1, reduction="sum")
    return nats / (y >= 0).sum().clamp(min=1)


def without_label(y: Tensor) -> Tensor:
    """(B,) which images a semi-supervised game is about: all, if each has a label.

    Labelled images beside unlabelled ones are few, seen again and again, and would be learned by
    heart as what data looks like.
    """
    unknown = y < 0
    return unknown | ~unknown.any()
