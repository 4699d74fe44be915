"""The runtime's own tests on Python 3.10 with ONNX Runtime 1.23.2, the pair of JetPack 6.

    python -m tests.jetpack6.run [FILE ...]

Needs a Python 3.10 on the path or in pyenv. The environment is made in `build/jetpack6`, and kept.
"""

from __future__ import annotations

import subprocess
import sys

from tests.board_tests import selection
from tests.jetpack6.environment import PYTHON, ROOT, interpreter, prepare

_VERSIONS = (
    "import platform, numpy, onnxruntime; print('Python', platform.python_version(), "
    "'onnxruntime', onnxruntime.__version__, 'numpy', numpy.__version__)"
)


def main() -> int:
    """Run the tests; pytest's exit code, or 3 where there is no Python 3.10."""
    python = interpreter()
    if python is None:
        print("there is no Python 3.10 here; install python3.10 and python3.10-venv, or: pyenv install 3.10")
        return 3
    prepare(python)
    subprocess.run([PYTHON, "-c", _VERSIONS], check=True)
    tests = sys.argv[1:] or ["tests/runtime"]
    return subprocess.run([PYTHON, "-m", "pytest", *selection(), *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
