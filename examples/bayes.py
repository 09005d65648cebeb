"""Bayes' rule: a class-conditional density names digits, and rejects what is none.

python examples/bayes.py
"""

import lightning as L
import torch
from sklearn.metrics import roc_auc_score

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Density
from genzoo.zoo import BayesClassifier, PixelCNN
from genzoo.zoo.bayes import IndependentPixels

if __name__ == "__main__":
    L.seed_everything(0)
    data = Digits(batch_size=32, conditional=True)
    model = PixelCNN(data.image_shape, data.num_classes, levels=17, width=24, layers=2, lr=3e-3)
    L.Trainer(max_epochs=12, logger=False, enable_checkpointing=False).fit(model, data)

    train, x = (from_uint8(data.split(part).images) for part in ("train", "test"))
    validation = from_uint8(data.split("val").images)
    labels, y = data.split("train").labels, data.split("test").labels
    densities: dict[str, Density] = {
        "PixelCNN": model,
        "naive Bayes": IndependentPixels(train, labels, levels=17),
    }

    empty = torch.full_like(x[:1], -1)
    outliers = {
        "noise": torch.rand_like(x) * 2 - 1,
        "mixed pixels": x.flatten(1)[:, torch.randperm(64)].view_as(x),
        "inverted": -x,
        "upside down": x.flip(2),
        "an empty page": empty,
    }
    for name, density in densities.items():
        classifier = BayesClassifier(density).calibrate(validation, train)
        right = (classifier.predict_proba(x).argmax(1) == y).float().mean()
        print(f"\n{name}: accuracy {right:.3f}, {classifier.log_marginal(x).mean():.1f} nats")
        print(f"{'rejected, AUROC':16}{'L':>14}{'T':>14}{'kNN':>14}")
        ordinary = {score: classifier.strangeness(x, score) for score in ("L", "T", "kNN")}
        for kind, images in {"real digits": x, **outliers}.items():
            row = f"{kind:16}"
            for score, values in ordinary.items():
                strange = classifier.strangeness(images, score)
                truth = [0] * len(values) + [1] * len(strange)
                auroc = roc_auc_score(truth, torch.cat((values, strange)))
                rejected = (strange > classifier.thresholds[score]).float().mean()
                row += f"{rejected:8.0%}, {auroc:.2f}"
            print(row)
