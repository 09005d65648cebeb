"""Command lines that train in a moment, and what a run of them logged."""

import csv
from pathlib import Path

FAST = (
    "--evaluate false --trainer.accelerator cpu --trainer.enable_model_summary false "
    "--trainer.max_epochs 1 "
)
OWN = f"--model own.Mean --data own.Noise {FAST}"
RUN = Path("runs/Mean-Noise/version_0")
LAST = RUN / "checkpoints/last.ckpt"


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
