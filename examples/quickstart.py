"""The quickstart in Python: train, test, read the report card, draw."""

import lightning as L
from torchvision.utils import save_image

from genzoo.callbacks import evaluations
from genzoo.datamodules import Digits
from genzoo.zoo import DCGAN

if __name__ == "__main__":
    L.seed_everything(0)
    data = Digits(batch_size=64)
    model = DCGAN(data.image_shape, latent_dim=32, lr=5e-4, ema_decay=0.995)
    trainer = L.Trainer(
        max_epochs=120, check_val_every_n_epoch=30, callbacks=evaluations(num_samples=2000)
    )
    trainer.fit(model, data)
    trainer.test(model, data)
    save_image(model.sample(64), "digits.png", normalize=True, value_range=(-1, 1))
