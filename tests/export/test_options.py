"""What is asked of an export is checked before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest

from tks_edge_export import ExportError, Options


@pytest.mark.parametrize("timesteps", [True, 2.0, "2", 0, 65])
def test_timesteps_are_a_whole_number(timesteps: Any) -> None:
    with pytest.raises(ExportError, match=r"^timesteps is .*; a static graph is made for 1 to 64\.$"):
        Options(timesteps)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"keep_float": "3"}, "keep_float: got '3'; a list of names is needed, such as ['3']."),
        ({"keep_float": 3}, "keep_float: got 3; a list of names is needed, such as ['head']."),
        ({"keep_float": (3,)}, "keep_float: got 3; a list of names is needed, such as ['head']."),
        ({"skip": "first_step"}, "skip: got 'first_step'; a list of names is needed, such as ['first_step']."),
    ],
)
def test_one_string_is_no_list_of_names(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ExportError) as error:
        Options(2, precision="int8", **asked)
    assert str(error.value) == said
