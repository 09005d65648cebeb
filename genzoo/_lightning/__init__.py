"""What of Lightning and torch is used that they do not document, in one place, by plain names.

`tests/test_lightning.py` says of each what breaks when a version of theirs changes it.
"""

from .training import keep_place as keep_place
from .training import place_of as place_of
from .training import trainer_of as trainer_of
