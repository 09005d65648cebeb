"""Another order in memory is the same training: same steps, same names, nothing left behind."""

import lightning as L
import pytest
import torch
from torch import nn

from genzoo.callbacks import ChannelsLast
from genzoo.zoo import GAN, WGANGP, ConvAutoencoder, PixelCNN, ProgressiveGAN
from tests.helpers.training import bits, fit, loader, trainer

MODELS = {
    "conv": lambda: GAN(
        (3, 16, 16), network="conv", width=4, latent_dim=4, num_classes=3, ema_decay=0.9
    ),
    "spectral": lambda: GAN((1, 16, 16), network="conv", width=4, latent_dim=4, spectral_norm=True),
    "residual": lambda: WGANGP((1, 16, 16), network="residual", width=4, latent_dim=4, d_steps=1),
    "growing": lambda: ProgressiveGAN((1, 8, 8), width=4, latent_dim=4, stage_steps=1),
    "autoencoder": lambda: ConvAutoencoder((1, 8, 8), width=4, latent_dim=4),
    "pixelcnn": lambda: PixelCNN((1, 8, 8), width=4, layers=3, levels=2),
    "mlp": lambda: GAN((1, 8, 8), width=16, latent_dim=4),
}


class Orders(L.Callback):
    """Notes in what order each convolution's weights, and Adam's averages of them, are."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        states = [optimizer.state for optimizer in trainer.optimizers]
        for part in pl_module.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                # With spectral norm the weight is deeper; one channel, or pixel, has both orders.
                weights = [p for p in part.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
                weights += [s[p]["exp_avg"] for s in states for p in weights if p in s]
                self.seen += [w.is_contiguous(memory_format=torch.channels_last) for w in weights]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_and_their_names_stay_what_they_are(make):
    found = []
    for callbacks in ([], [ChannelsLast()]):
        torch.manual_seed(0)
        model, orders = make(), Orders()
        data = loader(bits(24, model.image_shape).double())
        fit(model, data, 3, callbacks=[*callbacks, orders], precision="64-true")
        has_convolutions = any(isinstance(part, nn.Conv2d) for part in model.modules())
        assert bool(orders.seen) == has_convolutions
        assert all(order == bool(callbacks) for order in orders.seen)
        assert all(p.is_contiguous() for p in model.parameters())
        found.append(model.state_dict())
    plain, other = found
    assert list(plain) == list(other)
    torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-8)


def test_a_resumed_training_ends_where_the_unbroken_one_does(tmp_path):
    def train(epochs, path=None):
        torch.manual_seed(0)
        model = GAN((1, 16, 16), network="conv", width=8, latent_dim=4, ema_decay=0.9)
        runner = trainer(max_epochs=epochs, callbacks=[ChannelsLast()])
        runner.fit(model, loader(bits(24, (1, 16, 16))), ckpt_path=path, weights_only=True)
        runner.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return model.state_dict()

    whole, _ = train(2), train(1)
    rest = train(2, tmp_path / "1.ckpt")
    assert all(torch.equal(rest[name], whole[name]) for name in whole)
