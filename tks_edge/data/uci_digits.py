"""The pixels and labels of `digits` and `digits-dvs`, as scikit-learn brings them along.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (the test part).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def uci_digits() -> tuple[NDArray[np.uint8], list[int]]:
    """The 1,797 digits: uint8 `[1797, 8, 8]` of 0..16, and what each shows.

    `sklearn.datasets.load_digits` gives the same and imports all of scikit-learn and SciPy for it, 1.5 of the 4.8
    seconds in which a new process had opened `digits`; it is asked where the file is not where it has always been.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    found = find_spec("sklearn")
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "datasets/data/digits.csv.gz"
        if file.is_file():
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].tolist()
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.tolist()
