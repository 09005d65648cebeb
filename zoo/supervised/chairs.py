"""ChairGenerator: Learning to Generate Chairs with Convolutional Neural Networks.

Dosovitskiy, Springenberg and Brox, 2014 (CVPR 2015). https://arxiv.org/abs/1411.5928

The network is a convolutional network for recognition in reverse: its input is a type c and a view
v, its output an image. Type and view each go through separate fully connected layers, then together
through common ones, and unpooling with convolutions maps the vector to an image. The training is
plain regression, without noise and without an adversary:

    min_W  sum_i |u_W(c_i, v_i) - x_i|^2                                      (eq. 1)

Angles are given by sine and cosine, so that a full turn ends where it began. The network
generalises: it also draws views that are not in the training data, and mixtures of types.

In pixels, an object that is drawn well but slightly shifted has as large an error as another
object. So `loss="feature"` compares features of both images, from a classifier of the data's types
that is truncated before its last layers:

    min_W  sum_i |f(u_W(c_i, v_i)) - f(x_i)|^2 + a |u_W(c_i, v_i) - x_i|^2.

This distance ranks images better, but is not enough to train a generator: with a = 0, grey images
with an invisible pattern have the features of any chair. The pixel loss prevents such images.

Differs from the paper: one grey image, without the second stream for the silhouette and without
the transformations of the image (both have a part in eq. 1); tanh at the output; Adam.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize, one_hot

from ... import latent
from ...checks import at_least
from ...features.classifier import DomainClassifier, train_classifier
from ...modes import evaluating
from ..base import GenerativeModel
from ..networks.conv import halvings


class Upconvolutions(nn.Module):
    """A type (B, K) and a view (B, 4) to an image (B, C, H, W) in [-1, 1].

    Unpooling that puts each value into a corner of a block of zeros, followed by a convolution,
    is a convolution with fractional strides.
    """

    def __init__(self, image_shape: tuple[int, ...], num_classes: int, width: int):
        super().__init__()
        base, times = halvings(image_shape)
        self.views = _layers(4, 2 * width, 2 * width)
        self.types = _layers(num_classes, 2 * width, 2 * width) if num_classes else None
        both = 4 * width if num_classes else 2 * width
        self.common = _layers(both, 4 * width, 4 * width, width * base**2)
        layers: list[nn.Module] = [nn.Unflatten(1, (width, base, base))]
        for i in range(times):
            channels = max(1, width >> i)
            last = i == times - 1
            output = image_shape[0] if last else max(1, width >> (i + 1))
            layers.append(nn.ConvTranspose2d(channels, output, 5, 2, 2, output_padding=1))
            layers.append(nn.Tanh() if last else nn.ReLU())
        self.draw = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, code: Tensor | None, view: Tensor) -> Tensor:
        h = self.views(view)
        if self.types is not None:
            h = torch.cat((self.types(code), h), dim=1)
        return self.draw(self.common(h))


def _layers(*sizes: int) -> nn.Sequential:
    pairs = zip(sizes, sizes[1:], strict=False)
    return nn.Sequential(*(part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())))


def _initialise(layer: nn.Module) -> None:
    """Weights that keep the variance of signals through ReLUs (He et al., 2015, 1502.01852,
    eq. 14)."""
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.ConvTranspose2d):  # a pixel is reached by a quarter of the kernel
        inputs = layer.in_channels * layer.weight[0, 0].numel() / 4
        nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
        nn.init.zeros_(layer.bias)


class ChairGenerator(GenerativeModel):
    """Draws a type from a view; trained on batches (x, y) with y (B, 3), as `Chairs` gives them.

    Its latent is the view, as sines and cosines: `prior` draws random views, `decode` draws images
    of views, and `interpolate` moves around the object.

    Args:
        image_shape: (C, H, W).
        num_classes: K, the number of types; 0: there is one type, or it is not given.
        width: Channels of the smallest image, halved with each doubling of the side; the paper's
            256. Fully connected layers are two and four times as wide.
        loss: Squared error of pixels, "pixel", or of features of a classifier, "feature"; `fit`
            trains the classifier first, on the training images.
        elevations: Lowest and highest elevation of the views of `sample`, in degrees.
        pixel_weight: The weight a of the pixel loss in the feature loss.
        lr: Adam's learning rate.
    """

    Network: type[nn.Module] = Upconvolutions
    latent_dim = 4

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        width: int = 64,
        loss: Literal["pixel", "feature"] = "pixel",
        elevations: tuple[float, float] = (10.0, 40.0),
        pixel_weight: float = 10.0,
        lr: float = 1e-3,
    ):
        super().__init__()
        self.save_hyperparameters()
        if loss not in ("pixel", "feature"):
            raise ValueError(f"loss must be 'pixel' or 'feature', got {loss!r}")
        if loss == "feature" and num_classes < 2:
            raise ValueError(
                f"num_classes must be at least 2 for loss='feature', got {num_classes}: "
                "set --data.conditional true"
            )
        at_least(0, pixel_weight=pixel_weight)
        low, high = elevations
        if not -90 <= low <= high <= 90:
            raise ValueError(f"elevations must be (lowest, highest) degrees, got {elevations}")
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.elevations, self.pixel_weight, self.lr = (low, high), pixel_weight, lr
        self.network = self.Network(self.image_shape, num_classes, width)
        self.classifier: DomainClassifier | None = None
        if loss == "feature":
            classifier = DomainClassifier(self.image_shape, num_classes)
            self.classifier = classifier.requires_grad_(False).eval()
            self.register_buffer("taught", torch.tensor(False))  # whether the classifier is trained

    # Training

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self.classifier is not None and not self.taught:
            self.teach()

    def teach(self, images: Tensor | None = None, labels: Tensor | None = None, **settings) -> None:
        """Trains the classifier of the feature loss; `fit` calls this unless it was called before.

        Args:
            images: uint8 (N, C, H, W), with labels (N,); None: the training images of `fit`.
            settings: Arguments of `train_classifier`.
        """
        if images is None:
            split = getattr(self.trainer.datamodule, "split", None)
            if split is None:
                raise TypeError(
                    "loss='feature' needs a DataModule with split('train'), to train its "
                    "classifier on: or call teach(images, labels) before"
                )
            images, labels = split("train").images, split("train").labels
        with torch.random.fork_rng(devices=[]):
            found, _ = train_classifier(images, labels, **settings)
        self.classifier.load_state_dict(found.state_dict())
        self.taught.fill_(True)

    def train(self, mode: bool = True) -> "ChairGenerator":
        super().train(mode)
        if self.classifier is not None:
            self.classifier.eval()  # its statistics must not change
        return self

    def check_labels(self, batch) -> None:
        """y has type and view, which `_redraw` checks."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        drawn = self._redraw(batch)
        loss = pixels = mse_loss(drawn, batch[0])
        self.log("loss/pixel", pixels.detach(), prog_bar=True)
        if self.classifier is not None:
            f = self.classifier.features
            features = mse_loss(f(drawn), f(batch[0]))
            self.log("loss/feature", features.detach(), prog_bar=True)
            loss = features + self.pixel_weight * pixels
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        error = mse_loss(self._redraw(batch), batch[0])
        self.log("pixel_error", error, batch_size=len(batch[0]), sync_dist=True, prog_bar=True)

    test_step = validation_step

    def _redraw(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        if y.shape != (len(x), 3):
            raise ValueError(
                f"y must be (B, 3), type, azimuth and elevation, got {tuple(y.shape)}: "
                "set --data.views true"
            )
        y = y.to(self.device, self.dtype)
        code = self._code(y[:, 0].long()) if self.num_classes else None
        return self.network(code, self.look(y[:, 1], y[:, 2]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=self.lr)

    # Drawing

    def look(self, azimuth: Tensor | float, elevation: Tensor | float) -> Tensor:
        """A view as the latent: degrees, (n,) each or one for all, to (n, 4)."""
        angles = (
            torch.as_tensor(angle).to(self.device, self.dtype) for angle in (azimuth, elevation)
        )
        a, e = torch.broadcast_tensors(*(angle.deg2rad().reshape(-1) for angle in angles))
        return torch.stack((a.sin(), a.cos(), e.sin(), e.cos()), dim=1)

    def render(
        self,
        type: Tensor | int | None,
        azimuth: Tensor | float,
        elevation: Tensor | float,
    ) -> Tensor:
        """Images (n, C, H, W) of types from given views.

        Args:
            type: Labels (n,), or shares of the types (n, K), which are mixed; None: the model has
                no types.
            azimuth: Degrees of the viewer around the object from its front, (n,), or one number.
            elevation: Degrees by which the viewer looks down, (n,), or one number.
        """
        view, code = self.look(azimuth, elevation), self._code(type)
        if code is not None:
            n = max(len(view), len(code))
            if not {len(view), len(code)} <= {1, n}:
                raise ValueError(f"type must be one or {len(view)}, as the views, got {len(code)}")
            view, code = view.expand(n, -1), code.expand(n, -1)
        with evaluating(self):
            return self.network(code, view)

    def _code(self, type: Tensor | int | None) -> Tensor | None:
        """The condition of types, (n, K): one-hot numbers, or shares as they are."""
        if not self.num_classes:
            if type is not None:
                raise ValueError("type must be None: this model has no types")
            return None
        if type is None:
            raise ValueError(f"type must be in 0..{self.num_classes - 1}, got None")
        type = torch.as_tensor(type, device=self.device)
        if type.is_floating_point():
            if type.ndim != 2 or type.shape[1] != self.num_classes:
                got = tuple(type.shape)
                raise ValueError(f"shares of types must be (n, {self.num_classes}), got {got}")
            return type.to(self.dtype)
        type = type.reshape(-1)
        return one_hot(self.labels(len(type), type), self.num_classes).to(self.dtype)

    def prior(self, n: int) -> Tensor:
        """Random views (n, 4), with all azimuths, between the elevations."""
        azimuth, t = torch.rand(2, n, device=self.device, dtype=self.dtype)
        low, high = self.elevations
        return self.look(azimuth * 360, low + t * (high - low))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of views (n, 4); types y (n,) are drawn at random if not given."""
        angles = normalize(z.unflatten(1, (2, 2)), dim=2)  # back to the circle, from a walk's chord
        with evaluating(self):
            code = self._code(self.labels(len(z), y))
            return self.network(code, angles.flatten(1))

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """n images from random views; types y (n,) are drawn at random if not given."""
        return self.decode(self.prior(n), *self.to_draw(n, y))

    interpolate = latent.interpolate
