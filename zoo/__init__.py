"""The models, by family; `genzoo models` lists them."""

from .autoregressive import *  # noqa: F403
from .checkpoint import load_model as load_model
from .gan import *  # noqa: F403
from .samples import SampleFolder as SampleFolder
from .samples import Wrapped as Wrapped
from .variational import *  # noqa: F403
