"""The wheel and the sdist of this checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(copy: Path, out: Path) -> Path:
    """Builds both into `out`, of a copy made in `copy`: building leaves files behind."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "data", "build")

    def left_out(folder: str, names: list[str]) -> set[str]:
        return ignored(folder, names) | ({"runs"} if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=left_out)
    program = f"""
from setuptools import build_meta
build_meta.build_wheel({str(out)!r})
build_meta.build_sdist({str(out)!r})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out
