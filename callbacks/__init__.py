"""Evaluation and pictures, for any Trainer: `Trainer(callbacks=evaluations())`."""

from importlib import import_module

from .features import Evaluation, Evidence, Features, make_evaluable
from .likelihood import Likelihood
from .report import Number, Report, ReportCard, Section, evaluations
from .samples import Interpolations, Reconstructions, Samples

# The evaluations proper bring half of the scientific libraries with them: when first asked for.
_LATER = {"Diversity": "diversity", "Memorisation": "memorisation", "Realism": "realism"}

__all__ = [
    "Diversity",
    "Evaluation",
    "Evidence",
    "Features",
    "Interpolations",
    "Likelihood",
    "Memorisation",
    "Number",
    "Realism",
    "Reconstructions",
    "Report",
    "ReportCard",
    "Samples",
    "Section",
    "evaluations",
    "make_evaluable",
]


def __getattr__(name: str):
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
