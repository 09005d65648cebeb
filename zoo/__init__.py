"""The models, by family; `genzoo models` lists them."""

from ..runs.checkpoints import init_from as init_from
from ..runs.checkpoints import load_model as load_model
from .autoregressive import *  # noqa: F403
from .bayes import BayesClassifier as BayesClassifier
from .conditional import *  # noqa: F403
from .diffusion import *  # noqa: F403
from .external import GivenSamples as GivenSamples
from .external import RealFolder as RealFolder
from .external import SampleFolder as SampleFolder
from .external import Wrapped as Wrapped
from .gan import *  # noqa: F403
from .inference import *  # noqa: F403
from .markov import *  # noqa: F403
from .supervised import *  # noqa: F403
from .variational import *  # noqa: F403

# isort: split
from . import (
    autoregressive,
    conditional,
    diffusion,
    gan,
    inference,
    markov,
    supervised,
    variational,
)

__all__ = [
    "BayesClassifier",
    "GivenSamples",
    "RealFolder",
    "SampleFolder",
    "Wrapped",
    "init_from",
    "load_model",
]
__all__ += autoregressive.__all__
__all__ += conditional.__all__
__all__ += diffusion.__all__
__all__ += gan.__all__
__all__ += inference.__all__
__all__ += markov.__all__
__all__ += supervised.__all__
__all__ += variational.__all__
