"""The generator is told something, or made to mean something: classes, codes, what is around."""

from .acgan import ACGAN
from .amgan import AMGAN
from .cgan import CGAN
from .infogan import InfoGAN

__all__ = ["ACGAN", "AMGAN", "CGAN", "InfoGAN"]
