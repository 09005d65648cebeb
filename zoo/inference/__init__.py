"""Games in which an encoder is trained with the generator."""

from .aae import AAE
from .aegan import AEGAN
from .ali import ALI
from .bigan import BiGAN
from .cvae_gan import CVAEGAN
from .ian import IAN
from .lfvi import LFVI
from .vae_gan import VAEGAN

__all__ = ["AAE", "AEGAN", "ALI", "BiGAN", "CVAEGAN", "IAN", "LFVI", "VAEGAN"]
