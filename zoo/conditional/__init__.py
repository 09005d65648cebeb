"""The generator is told something, or made to mean something: classes, codes, what is around."""

from .acgan import ACGAN
from .amgan import AMGAN
from .catgan import CatGAN
from .ccgan import CCGAN
from .cgan import CGAN
from .infogan import InfoGAN
from .semi_supervised_gan import SemiSupervisedGAN

__all__ = ["ACGAN", "AMGAN", "CCGAN", "CGAN", "CatGAN", "InfoGAN", "SemiSupervisedGAN"]
