"""An evaluation needs no Trainer: a Run with real images, and a model that samples."""

import subprocess
import sys

import torch

from genzoo.callbacks import Diversity, Realism, Section
from genzoo.callbacks.evidence import Settings, gather_evidence
from genzoo.run import Data, Real, Run
from tests.helpers.toy_model_and_data import Toy, pictures


def read(part, limit):
    count, seed = {"train": (330, 0), "test": (170, 1)}[part]
    images, labels = pictures(count, seed=seed)
    return Real(images[:limit], labels[:limit])


def test_from_samples_to_sections():
    torch.manual_seed(0)
    run = Run(Data(read, "toys", ("a", "b", "c")))
    evidence = gather_evidence(run, Toy(), Settings("pixels", 200, 0, 300))
    assert (len(evidence.train), len(evidence.held_out), len(evidence.generated)) == (300, 170, 200)
    assert evidence.protocol["n_train"] == 300 and evidence.protocol["split"] == "test"
    for kind in (Realism, Diversity):
        section = kind("pixels").evaluate(evidence)
        assert isinstance(section, Section) and section.flag == "bad", section.verdict
    # Who asks again with the same settings gets the same; the model draws no more.
    assert gather_evidence(run, None, Settings("pixels", 200, 0, 300)) is evidence


def test_metrics_and_reports_need_neither_lightning_nor_models():
    code = (
        "import sys, pkgutil, importlib, genzoo.metrics, genzoo.report\n"
        "for folder in (genzoo.report, genzoo.metrics):\n"
        "    for part in pkgutil.iter_modules(folder.__path__, folder.__name__ + '.'):\n"
        "        heavy = part.name.endswith(('.figures', '.torchmetrics'))\n"
        "        heavy or importlib.import_module(part.name)\n"
        "    print(*sorted({m.split('.')[0] for m in sys.modules}\n"
        "        & {'torch', 'lightning', 'torchmetrics'}), 'genzoo.zoo' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["False", "torch False"]
