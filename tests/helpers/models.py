"""All models, each as its own test module says it is smallest, and batches for them."""

import ast
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import genzoo.zoo
from genzoo import protocols
from genzoo.zoo.adversarial import Adversarial
from genzoo.zoo.base import GenerativeModel
from tests.helpers import tiny
from tests.helpers.tiny import Tiny

ZOO = Path(__file__).parents[1] / "zoo"


def declared(path: Path, text: str | None = None) -> tuple[Tiny, ...]:
    """The value of `TINY` in a test module; in this text instead.

    It is read and not imported: `python -m tests.gpu` runs where pytest and scikit-learn are
    missing, and a test module may itself use what is collected here.
    """
    names = {**vars(protocols), **vars(tiny), **vars(genzoo.zoo)}
    for node in ast.parse(path.read_text() if text is None else text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TINY":
            expression = compile(ast.Expression(node.value), str(path), "eval")
            found = eval(expression, names)
            return found if isinstance(found, tuple) else (found,)
    return ()


TINY = {
    one.model.__name__: one for path in sorted(ZOO.glob("*/test_*.py")) for one in declared(path)
}
MODELS = {name: TINY[name].model for name in sorted(TINY)}
GAMES = [name for name, model in MODELS.items() if issubclass(model, Adversarial)]
SHAPE = (1, 8, 8)


def build(name: str, num_classes: int = 0, **settings) -> GenerativeModel:
    torch.manual_seed(0)
    num_classes = 3 if TINY[name].needs_classes else num_classes
    return MODELS[name](SHAPE, num_classes=num_classes, **{**TINY[name].settings, **settings})


def batches(name: str) -> DataLoader:
    """What a model is trained on."""
    return TINY[name].batches()
