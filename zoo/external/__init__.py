"""Images that come from elsewhere: what another program has drawn, and what another program draws.

The evaluations ask a model for nothing but samples, so these are models enough for them. And real
images of which nobody says which ones a model was trained on, to compare them with.
"""

from .forms import as_bytes as as_bytes
from .forms import as_images as as_images
from .real import Pictures as Pictures
from .real import RealFolder as RealFolder
from .samples import GivenSamples as GivenSamples
from .samples import SampleFolder as SampleFolder
from .wrapped import Wrapped as Wrapped
