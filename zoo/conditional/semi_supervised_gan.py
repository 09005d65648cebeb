"""SemiSupervisedGAN: Improved Techniques for Training GANs, the classifier of sec. 5.

Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, 2016. https://arxiv.org/abs/1606.03498

A classifier of K classes becomes a discriminator by a further class, "a sample". A softmax has one
redundant logit, so the logit of this class is 0; then with Z(x) = sum_k<=K exp l_k(x)

    D(x) = Z(x) / (Z(x) + 1),

so the score of the game is log Z, and the discriminator descends

    L_D = E_labelled[-log p(y | x, y <= K)] - E_x[log D(x)] - E_z[log(1 - D(G(z)))]

of which only the first term needs labels: unlabelled images must belong to *some* class, and
samples to none. So the features also learn from unlabelled images. The generator matches mean
features (sec. 3.1).

The best classifier does not come with the best samples: in the paper minibatch discrimination gives
better samples and a worse classifier.

Each batch must have many labelled images: if batches have the share of labels of the data, four in
a hundred, unlabelled images gain half as much (on 8x8 digits with five labels of each class, 4
points instead of 8). A DataModule's `labels_per_class` makes such batches. The real images of the
game are then the unlabelled ones, or all images if each has a label. The number of samples is that
of the whole batch, at least two, because of batch normalisation.

Differs from the paper: networks as in `GAN` or as `network` says, with Gaussian noise in the
discriminator, but without weight normalisation and an average of its weights.
"""

from torch import Tensor

from ...checks import labelled
from ...modes import evaluating
from ..adversarial import Batch
from ..gan.gan import GAN
from ..gan.improved_gan import feature_distance
from ..networks import Heads, labelled_cross_entropy, without_label
from ..networks.noise import noisy


class AnyClass(Heads):
    """Class logits; the score is log Z, of the image belonging to any class."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.outputs(*inputs)["classes"].logsumexp(dim=1)


class SemiSupervisedGAN(GAN):
    """A GAN whose discriminator is a classifier that learns from few labels and many images.

    Sampling is unconditional: the attribute `num_classes` of the model is always 0.

    Args:
        num_classes: K, at least 2, the number of classes. Labels are 0..K-1, or -1 for an
            unlabelled image.
        label_weight: Weight of the cross-entropy with the labels.
        input_noise: Standard deviation of the noise on the images in the discriminator.
        hidden_noise: Standard deviation of the noise behind the discriminator's leaky ReLUs.
    """

    DiscriminatorHeads: type[Heads] = AnyClass

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int,
        label_weight: float = 1.0,
        input_noise: float = 0.3,
        hidden_noise: float = 0.3,
        **kwargs,
    ):
        labelled(self, num_classes)
        if kwargs.get("saturating"):
            raise ValueError(f"saturating must be False: {type(self).__name__} has its own loss")
        super().__init__(image_shape, 0, **kwargs)
        self.label_weight, self.learnt_classes = label_weight, num_classes
        body = noisy(self.discriminator, input_noise, hidden_noise)
        kind = getattr(self, "Judge", self.DiscriminatorHeads)  # its earlier name
        heads = kind(body, score=False, classes=num_classes)
        self.discriminator = self.regularisation.wrap(heads)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        logits, plays = self.discriminator.outputs(x)["classes"], without_label(y)
        of_fake = self.discriminator(*self.fake(self.prior(len(x))))
        game = self.loss.discriminator(logits[plays].logsumexp(dim=1), of_fake)
        return game + self.label_weight * labelled_cross_entropy(logits, y)

    def generator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        of_real = self.discriminator.features(x)[without_label(y)]
        of_fake = self.discriminator.features(*self.fake(self.prior(len(x))))
        return feature_distance(of_real, of_fake)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, y = batch
        known = y >= 0
        if known.any():
            right = (self.predict_proba(x).argmax(dim=1) == y)[known].float().mean()
            self.log("accuracy", right, batch_size=int(known.sum()), sync_dist=True)

    test_step = validation_step

    def predict_proba(self, x: Tensor) -> Tensor:
        """(B, K), of data."""
        with evaluating(self):
            return self.discriminator.outputs(x)["classes"].softmax(dim=1)
