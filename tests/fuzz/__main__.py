"""Damage artifacts and use them: every case has to end in an error for the user, or well.

python -m tests.fuzz [--count 1000] [--seed 0] [--backend onnxruntime] [--only 123 --keep FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.originals import write_originals
from tests.fuzz.supervisor import fuzz
from tests.fuzz.worker import damage_of, prepare, use


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="cases [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same cases [%(default)s]")
    parser.add_argument("--backend", default="onnxruntime", help="what runs them [%(default)s]")
    parser.add_argument("--only", type=int, help="this case alone, in this process, without limits")
    parser.add_argument("--keep", type=Path, help="with --only: the folder that the damaged files go to")
    return parser.parse_args()


def main() -> int:
    """Run the cases; 1 where one failed."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tks-edge-fuzz-") as scratch:
        originals = Path(scratch) / "originals"
        write_originals(originals)
        if arguments.only is not None:
            case = prepare(originals, arguments.keep or Path(scratch) / "case", arguments.seed, arguments.only)
            print(f"{case.path}: {damage_of(arguments.only).__name__}")
            print(*use(case.path, arguments.backend), sep="\n")
            return 0
        longest: dict[str, Any] = {}

        def told(outcome: dict[str, Any]) -> None:
            longest.update({key: max(outcome[key], longest.get(key, 0)) for key in ("seconds", "megabytes")})

        result = fuzz(originals, seed=arguments.seed, count=arguments.count, backend=arguments.backend, on_case=told)
    for failure in result.failures:
        print(f"case {failure.index}, {failure.damage}: {failure.what}")
    print(
        f"{arguments.count} cases of seed {arguments.seed} on {arguments.backend}: "
        f"{result.refused} refused with an error, {result.worked} worked, {len(result.failures)} failed; "
        f"at most {longest.get('seconds', 0)} s and {longest.get('megabytes', 0)} MB for one"
    )
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
