"""Evaluation and pictures, for any Trainer: `Trainer(callbacks=evaluations())`.

Each name is imported when it is first asked for: some bring half of the scientific libraries with
them, and what only reads a card needs not even torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "ChannelsLast": "channels_last",
    "Compile": "compile",
    "DensityCoverage": ".metrics.torchmetrics",
    "Diversity": "diversity",
    "Edits": "latents",
    "Evaluation": "evaluation",
    "Evidence": ".features.evidence",
    "Features": ".features.evidence",
    "Filters": "filters",
    "FrechetDistance": ".metrics.torchmetrics",
    "GameMonitor": "game_monitor",
    "InceptionScore": ".metrics.torchmetrics",
    "Interpolations": "pictures",
    "KernelDistance": ".metrics.torchmetrics",
    "Likelihood": "likelihood",
    "LinearProbe": "probe",
    "Manifold": "latents",
    "Memorisation": "memorisation",
    "Number": ".report.card",
    "PrecisionRecall": ".metrics.torchmetrics",
    "Realism": "realism",
    "Reconstructions": "pictures",
    "Report": ".report.card",
    "ReportCard": "report_cards",
    "SafeWandbLogger": ".runs.wandb",
    "Samples": "pictures",
    "Section": ".report.card",
    "Throughput": "throughput",
    "Traversals": "latents",
    "evaluations": "report_cards",
    "make_evaluable": "evaluation",
    "report_card": "report_cards",
}

if TYPE_CHECKING:  # the same for a type checker, which does not run `__getattr__`
    from ..features.evidence import Evidence as Evidence
    from ..features.evidence import Features as Features
    from ..metrics.torchmetrics import DensityCoverage as DensityCoverage
    from ..metrics.torchmetrics import FrechetDistance as FrechetDistance
    from ..metrics.torchmetrics import InceptionScore as InceptionScore
    from ..metrics.torchmetrics import KernelDistance as KernelDistance
    from ..metrics.torchmetrics import PrecisionRecall as PrecisionRecall
    from ..report.card import Number as Number
    from ..report.card import Report as Report
    from ..report.card import Section as Section
    from ..runs.wandb import SafeWandbLogger as SafeWandbLogger
    from .channels_last import ChannelsLast as ChannelsLast
    from .compile import Compile as Compile
    from .diversity import Diversity as Diversity
    from .evaluation import Evaluation as Evaluation
    from .evaluation import make_evaluable as make_evaluable
    from .filters import Filters as Filters
    from .game_monitor import GameMonitor as GameMonitor
    from .latents import Edits as Edits
    from .latents import Manifold as Manifold
    from .latents import Traversals as Traversals
    from .likelihood import Likelihood as Likelihood
    from .memorisation import Memorisation as Memorisation
    from .pictures import Interpolations as Interpolations
    from .pictures import Reconstructions as Reconstructions
    from .pictures import Samples as Samples
    from .probe import LinearProbe as LinearProbe
    from .realism import Realism as Realism
    from .report_cards import ReportCard as ReportCard
    from .report_cards import evaluations as evaluations
    from .report_cards import report_card as report_card
    from .throughput import Throughput as Throughput

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
