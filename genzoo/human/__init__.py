"""Human evaluation: people decide which images are real, and their error rate is the measure.

HYPE: A Benchmark for Human eYe Perceptual Evaluation of Generative Models.
Zhou et al., 2019. https://arxiv.org/abs/1904.01121

The protocol is HYPE_infinity: one image, no time limit, real or fake? The error rate over real and
generated images is 50 % if raters cannot tell them apart. Optionally raters are shown pairs and
choose the real image (two-alternative forced choice).

`export_study` writes a folder that is opened from a web server or from the disk, and next to it
the key, which must not be published. `analyse` reads the answers. Raters differ, so answers of one
rater are not independent: the interval comes from resampling raters. The binomial interval is
given too, as a lower bound of the uncertainty. Both are for the images of the study only, and do
not include the choice of images.

Differs from the paper: instead of a qualification round there are attention checks (images of
noise), whose rule of exclusion is written into the key before the first answer.

This package does not import torch: answers are analysed with numpy and scipy.
"""

from .analysis import analyse as analyse
from .analysis import bootstrap as bootstrap
from .analysis import clopper_pearson as clopper_pearson
from .analysis import d_prime as d_prime
from .analysis import error_rate as error_rate
from .answers import ANSWERS as ANSWERS
from .answers import COLUMNS as COLUMNS
from .answers import Mode as Mode
from .findings import HALVES as HALVES
from .findings import MARGIN as MARGIN
from .findings import Analysis as Analysis
from .findings import Estimate as Estimate
from .findings import Rater as Rater
from .findings import section as section
from .findings import verdict as verdict
from .study import cues as cues
from .study import export_study as export_study
