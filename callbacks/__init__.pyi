"""Where the names of `__init__.py` live, for type checkers, which do not run it."""

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

__all__: list[str]
