import shutil

import pytest

from tests.browser import Browser


@pytest.fixture
def browser(tmp_path):
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        pytest.skip(f"a browser is needed: {' and '.join(missing)} not found")
    browser = Browser(tmp_path)
    yield browser
    browser.close()
