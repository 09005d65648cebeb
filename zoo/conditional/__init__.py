"""Games with a condition of the generator, or with codes or classes that are learned."""

from .acgan import ACGAN
from .amgan import AMGAN
from .catgan import CatGAN
from .ccgan import CCGAN
from .cgan import CGAN
from .infogan import InfoGAN
from .semi_supervised_gan import SemiSupervisedGAN

__all__ = ["ACGAN", "AMGAN", "CCGAN", "CGAN", "CatGAN", "InfoGAN", "SemiSupervisedGAN"]
