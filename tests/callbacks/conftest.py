import pytest


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Nothing that a test caches outlives it."""
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
