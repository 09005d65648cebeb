import shutil

import pytest

from tests.browser import Browser


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Nothing that a test caches outlives it."""
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _a_short_look_for_copies(monkeypatch):
    """What it finds is tested in `verdicts`; here it is to be there."""
    monkeypatch.setattr("genzoo.features.instance.LEAST", 20)
    monkeypatch.setattr("genzoo.features.instance.MOST", 20)
    monkeypatch.setattr("genzoo.callbacks.memorisation.PLANTED", 40)


@pytest.fixture
def browser(tmp_path):
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        pytest.skip(f"a browser is needed: {' and '.join(missing)} not found")
    browser = Browser(tmp_path)
    yield browser
    browser.close()
