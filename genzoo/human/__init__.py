"""Human evaluation: people say which images are real, and how often they are wrong is the measure.

HYPE: A Benchmark for Human eYe Perceptual Evaluation of Generative Models.
Zhou et al., 2019. https://arxiv.org/abs/1904.01121

The protocol is HYPE_infinity: one image, no time limit, real or fake? The error rate over real and
generated images is 50 % when raters cannot tell them apart. As an option they see pairs and say
which one is real (two-alternative forced choice).

`export_study` writes a folder that any web server, or no server, can show, and beside it the key
that must not be published. `analyse` reads the answers again. Raters differ, so answers of one
rater are not independent: the interval comes from resampling raters. The binomial interval is
given too, as a lower bound of the uncertainty. Both speak of these images only; another draw of
images from the same model is in neither.

Differs from the paper: no qualification round, instead attention checks (images of noise) whose
rule of exclusion is written into the key before anybody has answered.

No torch here: answers are analysed with numpy and scipy.
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
