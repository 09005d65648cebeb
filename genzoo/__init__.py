"""genzoo: train generative image models, and test each for three things.

Is it free of memorised training images, does it look real, is it as diverse as the data?
"""

from pathlib import Path as _Path

from ._moved import forward as _forward

__version__ = "0.2.0"

# Three of its packages lie at the root of a checkout, and are installed within this one.
_root = _Path(__file__).resolve().parent.parent
if (_root / "zoo" / "__init__.py").is_file() and (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))
_forward()
