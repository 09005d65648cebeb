"""External samples and generators as models, for the evaluations.

Most evaluations need only samples of a model, so images of another program, or its generator, can
be evaluated. `RealFolder` has real images to compare them with, if the training images are unknown.
"""

from .forms import as_bytes as as_bytes
from .forms import as_images as as_images
from .real import Pictures as Pictures
from .real import RealFolder as RealFolder
from .samples import GivenSamples as GivenSamples
from .samples import SampleFolder as SampleFolder
from .wrapped import Wrapped as Wrapped
