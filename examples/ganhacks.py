"""The tips of ganhacks, one change at a time on one small setting: the table of docs/ganhacks.md.

    python examples/ganhacks.py                      (ten minutes on one CPU core)
    python examples/ganhacks.py --only Adam dropout  (rows whose names have one of these words)

A GAN of two multilayer perceptrons learns scikit-learn's 8x8 digits for 800 steps; each row is the
same run with one thing changed. The number is the Frechet distance of 1,297 samples to the 1,297
training images in the features of a small classifier of digits, the mean of nine looks in the
second half of a run, since a game swings; less is better. The base runs on three times as many
seeds: its spread is what every row is held against.
"""

import argparse
import time

import lightning as L
import torch
from torch import nn
from torch.nn.functional import dropout, softplus

from genzoo.datamodules import Digits
from genzoo.features.classifier import train_classifier
from genzoo.images import from_uint8
from genzoo.metrics.frechet import frechet_distance
from genzoo.zoo import ACGAN, DCGAN, GAN, VAEGAN, ImprovedGAN
from genzoo.zoo.gan.gan import cross_entropy, non_saturating
from genzoo.zoo.networks import MLP, MLPDiscriminator, MLPGenerator
from genzoo.zoo.networks.noise import noisy

BASE = {"latent_dim": 32, "width": 128, "lr": 1e-3}
BATCH, PIXELS = 64, 64


# What is no option of the zoo: the tip, or its opposite where the tip is the default


class ZeroToOne(GAN):
    """Images are in [0, 1] for the discriminator."""

    def real(self, x, *condition):
        return ((x + 1) / 2,)

    def fake(self, z, *condition):
        return ((self.generator(z) + 1) / 2,)


class NormedDiscriminator(MLPDiscriminator):
    """With batch normalisation."""

    Norm: type[nn.Module] = nn.BatchNorm1d

    def __init__(self, image_shape, num_classes, width):
        super().__init__(image_shape, num_classes, width)
        self.body = MLP((PIXELS, width, width, 1), norm=True, slope=0.2, dropout=0.3)
        for name, module in list(self.body.named_modules()):
            if isinstance(module, nn.BatchNorm1d):
                self.body.set_submodule(name, self.Norm(width))


class LayerNormedDiscriminator(NormedDiscriminator):
    Norm = nn.LayerNorm


class Apart(GAN):
    Discriminator = NormedDiscriminator


class Mixed(Apart):
    """Data and samples in one batch."""

    def discriminator_loss(self, batch):
        x, _ = batch
        both = torch.cat((x, *self.fake(self.prior(len(x)))))
        return self.loss.discriminator(*self.discriminator(both).chunk(2))


class LayerNormed(GAN):
    Discriminator = LayerNormedDiscriminator


class PlainGenerator(MLPGenerator):
    """Without batch normalisation."""

    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__(image_shape, latent_dim, num_classes, width)
        self.body = MLP((latent_dim, width, width, PIXELS))


class Plain(GAN):
    Generator = PlainGenerator


def towards(score, target):
    """Cross entropy of sigmoid(score) with a target that may lie outside [0, 1]."""
    return (target * softplus(-score) + (1 - target) * softplus(score)).mean()


def random_targets(real, fake):
    high, low = torch.rand_like(real) * 0.5 + 0.7, torch.rand_like(fake) * 0.3
    return towards(real, high) + towards(fake, low)


def flipped_targets(real, fake, share=0.05):
    high, low = (torch.rand_like(s) < share for s in (real, fake))
    return towards(real, 1 - high.float()) + towards(fake, low.float())


class RandomTargets(GAN):
    loss = non_saturating._replace(discriminator=random_targets)


class FlippedTargets(GAN):
    loss = non_saturating._replace(discriminator=flipped_targets)


class Replay(GAN):
    """Half of the samples that the discriminator sees are of the last hundred steps."""

    def __init__(self, *settings, **more):
        super().__init__(*settings, **more)
        self.past = []

    def discriminator_loss(self, batch):
        x, _ = batch
        (new,) = self.fake(self.prior(len(x)))
        self.past = [*self.past[-99:], new.detach()]
        old = torch.cat(self.past)
        old = old[torch.randint(len(old), (len(x) // 2,))]
        seen = torch.cat((new[: len(x) - len(old)], old))
        return cross_entropy(self.discriminator(x), self.discriminator(seen))


class SlowDiscriminator(GAN):
    """Stochastic gradient descent for the discriminator, without momentum."""

    rate = 0.1

    def optimizer(self, player):
        if player.name == "discriminator":
            return torch.optim.SGD(player.parameters(), lr=self.rate)
        return super().optimizer(player)


class SlowerDiscriminator(SlowDiscriminator):
    rate = 0.01


class SlowBoth(GAN):
    def optimizer(self, player):
        return torch.optim.SGD(player.parameters(), lr=0.1)


class Balanced(GAN):
    """The discriminator rests while its loss is below 1.2 (undecided it would be log 4, 1.39)."""

    last = 2.0

    def move(self, player, optimizer, batch):
        if player.name != "discriminator":
            return super().move(player, optimizer, batch)
        if self.last > 1.2:
            self.last = super().move(player, optimizer, batch)
        else:
            with torch.no_grad():
                self.last = player.loss(batch)
        return self.last


class Embedded(nn.Module):
    """A network that is told a class as four numbers, which it learns."""

    def __init__(self, network):
        super().__init__()
        self.network, self.embedding = network, nn.Embedding(10, 4)

    def forward(self, v, y):
        return self.network(torch.cat((v.flatten(1), self.embedding(y)), dim=1))


class EmbeddedGenerator(Embedded):
    def __init__(self, image_shape, latent_dim, num_classes, width):
        super().__init__(MLPGenerator(image_shape, latent_dim + 4, 0, width))


class EmbeddedDiscriminator(Embedded):
    def __init__(self, image_shape, num_classes, width):
        super().__init__(MLPDiscriminator((PIXELS + 4,), 0, width))
        self.network.body = MLP((PIXELS + 4, width, width, 1), slope=0.2, dropout=0.3)


class EmbeddedLabels(GAN):
    Generator, Discriminator = EmbeddedGenerator, EmbeddedDiscriminator


class Dropped(nn.Module):
    """Drops half of the units, in training and afterwards."""

    def forward(self, x):
        return dropout(x, 0.5, training=True)


class DroppedGenerator(MLPGenerator):
    def __init__(self, *numbers):
        super().__init__(*numbers)
        for name, module in list(self.body.named_modules()):
            if isinstance(module, nn.LeakyReLU):
                self.body.set_submodule(name, nn.Sequential(module, Dropped()))


class DropoutInGenerator(GAN):
    Generator = DroppedGenerator


def slopes(model, network, slope):
    """The model, with leaky ReLUs of this slope in one of its networks."""
    for module in getattr(model, network).modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = slope
    return model


def linear_output(model):
    model.generator.out = nn.Identity()
    return model


def noisy_generator(model, deviation=0.2):
    model.generator.body = noisy(model.generator.body, 0.0, deviation)
    return model


def rows(steps):
    """(tip, what is changed, how the model is built)"""
    shape = (1, 8, 8)

    def row(tip, name, kind=GAN, change=lambda model: model, **settings):
        return tip, name, lambda: change(kind(shape, **{**BASE, **settings}))

    improved = {"kind": ImprovedGAN, "minibatch_kernels": 0, "label_smoothing": 0.0}
    return [
        row(0, "base"),
        row(1, "images in [0, 1] for D", ZeroToOne),
        row(1, "no tanh", change=linear_output),
        row(2, "log(1 - D) for G", saturating=True),
        row(3, "Gaussian z", prior="gaussian"),
        row(4, "batch norm in D, batches apart", Apart),
        row(4, "batch norm in D, one mixed batch", Mixed),
        row(4, "layer norm in D", LayerNormed),
        row(4, "no batch norm in G", Plain),
        row(5, "ReLU in D", change=lambda model: slopes(model, "discriminator", 0.0)),
        row(5, "leaky ReLU in G", change=lambda model: slopes(model, "generator", 0.2)),
        row(6, "one-sided smoothing 0.1", **{**improved, "label_smoothing": 0.1}),
        row(6, "random targets on both sides", RandomTargets),
        row(6, "5 % of targets flipped", FlippedTargets),
        row(7, "DCGAN", DCGAN, width=32),
        row(7, "VAE-GAN", VAEGAN),
        row(8, "replay of past samples", Replay),
        row(9, "SGD for D, lr 0.1", SlowDiscriminator),
        row(9, "SGD for D, lr 0.01", SlowerDiscriminator),
        row(9, "SGD for both, lr 0.1", SlowBoth),
        row(11, "D rests while its loss is low", Balanced),
        row(12, "told the class", num_classes=10),
        row(12, "AC-GAN", ACGAN, num_classes=10),
        row(13, "noise 0.5 on D's input, falling", instance_noise=0.5, instance_noise_steps=steps),
        row(13, "noise 0.5 on D's input, constant", instance_noise=0.5),
        row(13, "noise 0.2 in G's layers", change=noisy_generator),
        row(14, "three steps of D", d_steps=3),
        row(15, "minibatch discrimination", **{**improved, "minibatch_kernels": 20}),
        row(16, "told the class by embedding", EmbeddedLabels, num_classes=10),
        row(17, "dropout in G, always", DropoutInGenerator),
    ]


class Looks(L.Callback):
    """A number of the model, nine times over the second half of a training."""

    def __init__(self, measure, steps):
        self.measure, self.steps, self.found = measure, steps, {}

    def on_train_batch_end(self, trainer, model, *_):
        step = trainer.global_step
        if 2 * step >= self.steps and step % (self.steps // 16) == 0 and step not in self.found:
            self.found[step] = self.measure(model)

    def mean(self):
        return sum(self.found.values()) / len(self.found)


def distance_of(build, data, measure, seed, steps):
    """Of a model that is trained with this seed."""
    L.seed_everything(seed, verbose=False)
    looks = Looks(measure, steps)
    L.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        max_steps=steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[looks],
    ).fit(build(), data)
    return looks.mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[""])
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Digits(batch_size=BATCH)
    train = data.split("train")
    held_out = torch.cat([data.split(name).images for name in ("val", "test")])
    classifier, _ = train_classifier(train.images, train.labels, steps=600)

    def features(x):
        return classifier.features(x.clamp(-1, 1))

    real = features(from_uint8(train.images))

    def measure(model):
        return frechet_distance(real, features(model.sample(len(real)))).value

    floor = frechet_distance(real, features(from_uint8(held_out))).value
    print(f"held-out images: {floor:.2f}")
    base = None
    for tip, name, build in rows(options.steps):
        if tip and not any(word in name for word in options.only):
            continue
        seeds = options.seeds if tip else range(3 * len(options.seeds))
        start = time.process_time()
        found = [distance_of(build, data, measure, seed, options.steps) for seed in seeds]
        base = base or found
        seconds = (time.process_time() - start) / len(found)
        mean, low, high = sum(found) / len(found), min(found), max(found)
        verdict = "better" if high < min(base) else "worse" if low > max(base) else "no difference"
        verdict = verdict if tip else ""
        print(
            f"{tip:2} {name:34} {mean:6.1f}  ({low:.1f} to {high:.1f})  {verdict:14}"
            f"{seconds:5.1f} s",
            flush=True,
        )
