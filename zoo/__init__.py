"""The models, by family; `genzoo models` lists them."""

from .autoregressive import *  # noqa: F403
from .checkpoint import load_model as load_model
from .elsewhere import SampleFolder as SampleFolder
from .elsewhere import Wrapped as Wrapped
from .gan import *  # noqa: F403
from .variational import *  # noqa: F403
