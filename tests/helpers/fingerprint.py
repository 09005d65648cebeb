"""An evaluation in whose numbers the order of everything shows."""

import torch

from genzoo.callbacks import Evaluation, Number, Section


class Fingerprint(Evaluation):
    """Numbers in which the order of everything shows."""

    evidence = None

    def evaluate(self, evidence):
        self.evidence = evidence
        numbers = {}
        for part in ("train", "held_out", "generated"):
            seen = getattr(evidence, part)
            for name in ("images", "features", "labels"):
                values = getattr(seen, name)
                if values is not None:
                    values = values.double().flatten(1).sum(1) if values.ndim > 1 else values
                    place = torch.arange(1, len(values) + 1, dtype=torch.float64)
                    numbers[f"{part}/{name}"] = Number((values * place).mean().item())
        return Section("fingerprint", "", "unsure", numbers, protocol={"own": 1})


def fingerprint(**settings):
    return Fingerprint("pixels", num_samples=230, num_samples_fit=110, **settings)
