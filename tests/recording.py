"""What a change of the house must leave alone: seeded losses, weights, samples and report numbers.

    python -m tests.recording before.json       on the old tree
    python -m tests.recording after.json        on the new one, on the same machine
    python -m tests.recording before.json after.json

says which differ, to the bit.
"""

import hashlib
import json
import sys
import tempfile
import warnings
from pathlib import Path

import lightning as L
import torch

from genzoo.callbacks import evaluations
from genzoo.protocols import Bounded, Density
from tests.helpers.models import MODELS, batches, build
from tests.helpers.toy_model_and_data import Data, Toy
from tests.helpers.training import fit, trainer


class Heard(L.Callback):
    """All that a model logs."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        for name, value in sorted(trainer.callback_metrics.items()):
            self.values.append(f"{name}={float(value).hex()}")


def digest(*tensors: torch.Tensor) -> str:
    data = b"".join(tensor.detach().cpu().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(data).hexdigest()[:16]


def of_model(name: str, num_classes: int) -> dict[str, object]:
    """Four batches: what was logged, the weights, samples, likelihoods."""
    model, heard = build(name, num_classes), Heard()
    L.seed_everything(0, verbose=False)
    fit(model, batches(name), steps=4, callbacks=[heard])
    parts = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    # Networks may be called by other names; what they hold, in order, is the same.
    found: dict[str, object] = {"logged": heard.values, "weights": digest(*parts.values())}
    torch.manual_seed(1)
    found["samples"] = digest(model.eval().sample(5))
    x, y = next(iter(batches(name)))
    condition = (y,) if model.num_classes else ()
    torch.manual_seed(2)
    with torch.no_grad():
        if isinstance(model, Density):
            found["log_prob"] = digest(model.log_prob(x, *condition))
        if isinstance(model, Bounded):
            found["elbo"] = digest(model.elbo(x, *condition))
    return found


def of_card(model: L.LightningModule, labelled: bool, extractor: str) -> dict[str, object]:
    """All numbers of a card with their intervals, flags and verdicts."""
    few = evaluations(extractor=extractor, num_samples=400, num_samples_fit=200)
    with tempfile.TemporaryDirectory() as folder:
        L.seed_everything(0, verbose=False)
        runner = trainer(default_root_dir=folder, callbacks=few)
        runner.test(model, Data(labelled=labelled), verbose=False)
        (file,) = Path(folder).rglob("report.json")
        report = json.loads(file.read_text())
    return {
        section["title"]: [section["flag"], section["verdict"], section["numbers"]]
        for section in report["sections"]
    }


def record() -> dict[str, object]:
    from genzoo.features import instance

    instance.LEAST = instance.MOST = 20
    found: dict[str, object] = {}
    for name in sorted(MODELS):
        for num_classes in (0, 3):
            print(name, num_classes, flush=True)
            found[f"{name} {num_classes}"] = of_model(name, num_classes)
    for labelled in (True, False):
        for extractor in ("pixels", "auto"):
            torch.manual_seed(0)
            found[f"card {labelled} {extractor}"] = of_card(Toy(), labelled, extractor)
    for name, settings in (("VAE", {"decoder": "gaussian"}), ("PixelCNN", {}), ("ACGAN", {})):
        found[f"card {name}"] = of_card(build(name, 3, **settings), True, "auto")
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    files = [Path(argument) for argument in sys.argv[1:]]
    if len(files) == 2:
        before, after = (json.loads(file.read_text()) for file in files)
        wrong = [key for key in before | after if before.get(key) != after.get(key)]
        print(f"{len(before | after)} recordings, {len(wrong)} differ", *wrong, sep="\n")
        sys.exit(bool(wrong))
    (file,) = files
    file.write_text(json.dumps(record(), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
