"""Evaluation and pictures, for any Trainer: `Trainer(callbacks=evaluations())`.

Each name is imported on its first use: some of them import large scientific libraries, and a script
that only reads a card does not need torch. Type checkers read `__init__.pyi`.
"""

from importlib import import_module
from typing import Any

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

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
