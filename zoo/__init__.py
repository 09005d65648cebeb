"""The models, by family; `genzoo models` lists them."""

from .autoregressive import *  # noqa: F403
from .bayes import BayesClassifier as BayesClassifier
from .checkpoint import init_from as init_from
from .checkpoint import load_model as load_model
from .conditional import *  # noqa: F403
from .elsewhere import GivenSamples as GivenSamples
from .elsewhere import RealFolder as RealFolder
from .elsewhere import SampleFolder as SampleFolder
from .elsewhere import Wrapped as Wrapped
from .gan import *  # noqa: F403
from .inference import *  # noqa: F403
from .markov import *  # noqa: F403
from .supervised import *  # noqa: F403
from .variational import *  # noqa: F403
