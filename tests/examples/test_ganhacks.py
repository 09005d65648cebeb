"""The table of tips: every row of its script can be trained, and every tip has its row."""

import re
import runpy
from pathlib import Path

import torch

from tests.helpers.training import bits, fit, loader

ROOT = Path(__file__).parents[2]


def test_every_row_plays():
    rows = runpy.run_path(str(ROOT / "examples" / "ganhacks.py"))["rows"](steps=2)
    assert {tip for tip, *_ in rows} == set(range(18)) - {10}  # a monitor changes no training
    for _, name, build in rows:
        model = build()
        before = torch.cat([p.detach().flatten() for p in model.generator.parameters()])
        fit(model, loader(bits(96), 32), steps=1)
        after = torch.cat([p.detach().flatten() for p in model.generator.parameters()])
        assert not torch.equal(before, after), name


def test_the_table_has_every_tip_and_names_what_there_is():
    text = (ROOT / "docs" / "ganhacks.md").read_text()
    tips = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert tips == [str(tip) for tip in range(1, 18)]
    parts = "".join(path.read_text() for path in (ROOT / "zoo").rglob("*.py"))
    options = "saturating prior label_smoothing instance_noise instance_noise_steps d_steps"
    for option in (*options.split(), "minibatch_kernels", "num_classes"):
        assert f"`{option}" in text and f"        {option}: " in parts
