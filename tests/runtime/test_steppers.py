"""What holds for every backend's stepper: states stay in it, start at zero, and belong to it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.conftest import CPU_BACKENDS, open_on_one_thread
from tks_edge_runtime.backends import Recurrence, Stepper, open_engine
from tks_edge_runtime.errors import ArtifactError, InputError

Array = npt.NDArray[Any]
Save = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Path]
SUM = [Recurrence("sum", "sum.out")]
DTYPES = {"float32": 1, "float16": 10, "int32": 6, "int8": 3, "uint8": 2}


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a graph given by its nodes, inputs and outputs."""

    def save_graph(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Path:
        starts, ends = ([helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs))
        graph = helper.make_graph(nodes, "graph", starts, ends)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / "graph.onnx")
        return tmp_path / "graph.onnx"

    return save_graph


def counter(save: Save, kind: int = TensorProto.FLOAT) -> Path:
    """A running sum: `sum.out = sum + x`, and `seen`, a copy of it."""
    ports = [(name, kind, [2, 3]) for name in ("sum", "x", "sum.out", "seen")]
    nodes = [helper.make_node("Add", ["sum", "x"], ["sum.out"]), helper.make_node("Add", ["sum", "x"], ["seen"])]
    return save(nodes, ports[:2], ports[2:])


def rows(*values: float) -> list[Array]:
    return [np.full((2, 3), value, np.float32) for value in values]


def seen(stepper: Stepper, inputs: Sequence[Array]) -> list[float]:
    found = []
    for given in inputs:
        stepper.feed({"x": given})
        results = stepper.step()
        assert list(results) == ["seen"]
        assert len(np.unique(results["seen"])) == 1
        found.append(float(results["seen"][0, 0]))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_state_is_carried_on_in_its_own_dtype(save: Save, backend: str, dtype: str) -> None:
    path = (casting_counter if dtype in ("int8", "uint8") else counter)(save, DTYPES[dtype])
    stepper = open_on_one_thread(path, backend).stepper(SUM)
    inputs = [row.astype(dtype) for row in rows(1, 2, 4, 8, 16)]
    assert seen(stepper, inputs) == [1, 3, 7, 15, 31]
    stepper.reset()
    assert seen(stepper, inputs[:2]) == [1, 3]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_a_state_starts_with_what_stands_for_zero_in_it(save: Save, backend: str, dtype: str) -> None:
    path = casting_counter(save, DTYPES[dtype])
    stepper = open_on_one_thread(path, backend).stepper([Recurrence("sum", "sum.out", start=100)])
    inputs = [row.astype(dtype) for row in rows(1, 2, 4)]
    for _ in range(3):
        assert seen(stepper, inputs) == [101, 103, 107]
        stepper.reset()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int8", "uint8"])
def test_rows_start_again_one_by_one(save: Save, backend: str, dtype: str) -> None:
    path = (casting_counter if dtype in ("int8", "uint8") else counter)(save, DTYPES[dtype])
    start = 0 if dtype.startswith("float") else 50
    stepper = open_on_one_thread(path, backend).stepper([Recurrence("sum", "sum.out", start=start)])
    stepper.feed({"x": rows(1)[0].astype(dtype)})
    for _ in range(2):
        taken = np.array([0, 0])
        # At every place of the buffers that take turns, and before the first step and twice in a row too.
        for restarted in ([1], [], [], [0], [], [1], [1, 0], [0], [], [], []):
            stepper.restart(restarted)
            taken[restarted] = 0
            seen = stepper.step()["seen"]
            taken += 1
            np.testing.assert_array_equal(seen, np.repeat(taken[:, None] + start, 3, axis=1))
        stepper.reset()


def test_rows_of_several_states_start_again_in_each_of_them(save: Save, backend: str) -> None:
    """Two sums of different widths and starts, added: a row's answer tells both."""
    ports = [("a", 1, [3, 2]), ("b", 1, [3, 4]), ("x", 1, [3, 1]), ("a.out", 1, [3, 2]), ("b.out", 1, [3, 4])]
    nodes = [
        helper.make_node("Add", ["a", "x"], ["a.out"]),
        helper.make_node("Add", ["b", "x"], ["b.out"]),
        helper.make_node("Concat", ["a.out", "b.out"], ["seen"], axis=1),
    ]
    path = save(nodes, ports[:3], [*ports[3:], ("seen", 1, [3, 6])])
    states = [Recurrence("a", "a.out", start=10), Recurrence("b", "b.out", start=20)]
    stepper = open_on_one_thread(path, backend).stepper(states)
    stepper.feed({"x": np.ones((3, 1), np.float32)})
    for _ in range(3):
        stepper.step()
    stepper.restart([2, 0])
    expected = [[11, 11, 21, 21, 21, 21], [14, 14, 24, 24, 24, 24], [11, 11, 21, 21, 21, 21]]
    np.testing.assert_array_equal(stepper.step()["seen"], expected)


def test_restarting_rows_leaves_other_steppers_alone(save: Save, backend: str) -> None:
    engine = open_on_one_thread(counter(save), backend)
    one, other = engine.stepper(SUM), engine.stepper(SUM)
    for stepper in (one, other):
        seen(stepper, rows(1, 1))
    one.restart([0, 1])
    assert seen(one, rows(1)) == [1]
    assert seen(other, rows(1)) == [3]


def casting_counter(save: Save, kind: int) -> Path:
    """The running sum in float32: ONNX Runtime adds no integers of 8 bits."""
    ports = [(name, kind, [2, 3]) for name in ("sum", "x", "sum.out", "seen")]
    nodes = [
        helper.make_node("Cast", ["sum"], ["wide sum"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["wide x"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide sum", "wide x"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["sum.out"], to=kind),
        helper.make_node("Cast", ["wide"], ["seen"], to=kind),
    ]
    return save(nodes, ports[:2], ports[2:])


def test_steppers_of_one_engine_are_apart_from_each_other_and_from_its_runs(save: Save, backend: str) -> None:
    engine = open_on_one_thread(counter(save), backend)
    one, other = engine.stepper(SUM), engine.stepper(SUM)
    (ten,) = rows(10)
    for taken in range(1, 6):
        assert seen(one, rows(1)) == [taken]
        assert seen(other, rows(100)) == [100 * taken]
        assert engine.run({"sum": ten, "x": ten})["seen"][0, 0] == 20
    one.close()
    assert seen(other, rows(1)) == [501]


def test_what_was_fed_stays_and_is_a_copy(save: Save, backend: str) -> None:
    stepper = open_on_one_thread(counter(save), backend).stepper(SUM)
    wide = np.repeat(rows(3)[0], 2, axis=1)[:, ::2]
    stepper.feed({"x": wide})
    wide[:] = 0
    held = [stepper.step()["seen"] for _ in range(5)]
    assert [float(result[0, 0]) for result in held] == [3, 6, 9, 12, 15]


def test_results_are_the_callers_own(save: Save, backend: str) -> None:
    stepper = open_on_one_thread(counter(save), backend).stepper(SUM)
    stepper.feed({"x": rows(1)[0]})
    for _ in range(3):
        stepper.step()["seen"][:] = 99
    assert stepper.step()["seen"][0, 0] == 4


def test_states_that_only_move_are_not_mixed_up(save: Save, backend: str) -> None:
    """A delay line: every state is another one's, or the input's, value of the step before."""
    ports = [(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "a", "b", "a.out", "b.out", "late")]
    nodes = [
        helper.make_node("Identity", ["x"], ["a.out"]),
        helper.make_node("Identity", ["a"], ["b.out"]),
        helper.make_node("Identity", ["b"], ["late"]),
    ]
    stepper = open_on_one_thread(save(nodes, ports[:3], ports[3:]), backend).stepper(
        [Recurrence("a", "a.out"), Recurrence("b", "b.out")]
    )
    for _ in range(2):
        found = []
        for row in rows(1, 2, 3, 4, 5, 6):
            stepper.feed({"x": row})
            found.append(float(stepper.step()["late"][0, 0]))
        assert found == [0, 0, 1, 2, 3, 4]
        stepper.reset()


def test_a_state_is_still_the_old_one_after_the_new_one_was_computed(save: Save, backend: str) -> None:
    ports = [(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "old", "new", "change")]
    nodes = [helper.make_node("Neg", ["x"], ["new"]), helper.make_node("Sub", ["new", "old"], ["change"])]
    stepper = open_on_one_thread(save(nodes, ports[:2], ports[2:]), backend).stepper([Recurrence("old", "new")])
    found = []
    for row in rows(-1, -3, -7, -15):
        stepper.feed({"x": row})
        found.append(float(stepper.step()["change"][0, 0]))
    assert found == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"y": np.zeros((2, 3), np.float32)},
        {"x": np.zeros((3, 2), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {"x": np.zeros((2, 3), np.float32), "sum": np.zeros((2, 3), np.float32)},
    ],
)
def test_feeds_that_do_not_fit_are_refused(save: Save, backend: str, feeds: dict[str, Array]) -> None:
    stepper = open_on_one_thread(counter(save), backend).stepper(SUM)
    with pytest.raises(InputError, match=r"the graph takes x float32\[2, 3\]; got "):
        stepper.feed(feeds)


def test_a_step_that_fails_is_an_artifact_error(save: Save) -> None:
    ports = [("at", TensorProto.INT64, [1]), ("sum", TensorProto.FLOAT, [2])]
    nodes = [helper.make_node("Gather", ["sum", "at"], ["one"]), helper.make_node("Identity", ["sum"], ["sum.out"])]
    path = save(nodes, ports, [("one", TensorProto.FLOAT, [1]), ("sum.out", TensorProto.FLOAT, [2])])
    stepper = open_engine(path, "onnxruntime", threads=1).stepper(SUM)
    stepper.feed({"at": np.array([7])})
    with pytest.raises(ArtifactError, match=r"cannot run .*graph\.onnx"):
        stepper.step()
