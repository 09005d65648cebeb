"""SemiSupervisedGAN: Improved Techniques for Training GANs, the classifier of sec. 5.

Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, 2016. https://arxiv.org/abs/1606.03498

A classifier of K classes becomes a discriminator by one class more, "a sample". As a softmax has a
logit too many, that of the last class may stay 0; with Z(x) = sum_k<=K exp l_k(x) then

    D(x) = Z(x) / (Z(x) + 1),

so the score of the game is log Z, and the discriminator pays

    L_D = E_labelled[-log p(y | x, y <= K)] - E_x[log D(x)] - E_z[log(1 - D(G(z)))]

of which all but the first term needs no label: unlabelled images must belong to *some* class, and
samples to none. That teaches the features what the images of a few labels could not. The
generator matches these features (sec. 3.1).

What is best for the classifier need not be for the pictures: the paper draws better ones by
minibatch discrimination, which teaches the classifier less.

Each step must see many labelled images: where a batch is mixed as the data is, with four labels in
a hundred, images without labels gain half as much (on 8x8 digits with five labels of each, 4 points
in place of 8). A DataModule's `labels_per_class` makes such batches; the game is then about the
images without a label, and about all where each has one. However few these are, there are as many
samples as images in the whole batch, of which batch normalisation needs two at least.

Differs from the paper: networks as `GAN` or as `network` says, with Gaussian noise in the
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
    """Class logits whose score is log Z, that the image is of any class."""

    def forward(self, *seen: Tensor) -> Tensor:
        return self.judge(*seen)["classes"].logsumexp(dim=1)


class SemiSupervisedGAN(GAN):
    """A GAN whose discriminator is a classifier that learns from few labels and many images.

    It draws without labels: `num_classes` of the model is 0 whatever is given here.

    Args:
        num_classes: K, at least 2. Labels are 0..K-1, or -1 where there is none.
        label_weight: Of the cross-entropy with the labels.
        input_noise: Standard deviation of the noise on images that the discriminator sees.
        hidden_noise: Likewise behind its leaky ReLUs.
    """

    Judge: type[Heads] = AnyClass

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
        judge = self.Judge(body, score=False, classes=num_classes)
        self.discriminator = self.regularisation.wrap(judge)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        x, y = batch
        logits, plays = self.discriminator.judge(x)["classes"], without_label(y)
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
            return self.discriminator.judge(x)["classes"].softmax(dim=1)
