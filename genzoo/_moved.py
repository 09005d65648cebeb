"""Earlier names of modules, which checkpoints and scripts of earlier versions use.

Users import from `genzoo.zoo`, `genzoo.datamodules` and `genzoo.callbacks`, whose names stay when
the modules behind them move.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "callbacks.cache": "features.cache",
    "callbacks.captions": "report.captions",
    "callbacks.card": "report.card",
    "callbacks.compare": "report.compare",
    "callbacks.everyone": "callbacks.report_cards",
    "callbacks.extractors": "features.extractors",
    "callbacks.features": "callbacks.evaluation",
    "callbacks.figures": "report.figures",
    "callbacks.html": "report.html",
    "callbacks.isolation": "rng",
    "callbacks.judge": "human",
    "callbacks.lines": "callbacks.progress",
    "callbacks.named": "features.named",
    "callbacks.panels": "features.panels",
    "callbacks.per_class": "features.per_class",
    "callbacks.question": "callbacks.evaluation",
    "callbacks.real": "callbacks.run",
    "callbacks.report": "callbacks.report_cards",
    "callbacks.samples": "callbacks.pictures",
    "callbacks.wandb": "runs.wandb",
    "callbacks.yardstick": "features.yardstick",
    "zoo.checkpoint": "runs.checkpoints",
    "zoo.classifier": "features.classifier",
    "zoo.cli": "cli.fit",
    "zoo.elsewhere": "zoo.external",
    "zoo.hints": "runs.suggestions",
    "zoo.latent": "latent",
    "zoo.module": "zoo.base",
    "zoo.protocols": "protocols",
    "zoo.runs": "runs.folders",
    "zoo.sample": "cli.sample",
}


class Forwarding(MetaPathFinder, Loader):
    """Imports the present module for an earlier name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        old = fullname.removeprefix("genzoo.")
        return ModuleSpec(fullname, self) if old != fullname and old in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"genzoo.{MOVED[spec.name.removeprefix('genzoo.')]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restores the spec of the present module, which has been executed already."""
        module.__spec__ = module.__spec__.loader_state


def forward() -> None:
    """Makes the earlier names importable."""
    if not any(isinstance(finder, Forwarding) for finder in sys.meta_path):
        sys.meta_path.append(Forwarding())
