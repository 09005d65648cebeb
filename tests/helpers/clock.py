"""Time that passes when a test says so."""

from genzoo import watch
from genzoo.callbacks import progress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for module in (progress, watch):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def work(self, items, seconds):
        for item in items:
            yield item
            self.now += seconds


def spent(clock, steps, seconds):
    """Goes through `steps` while each item takes so long."""
    seen = []
    for item in steps:
        seen.append(item)
        clock.now += seconds
    return seen
