"""OpenVINO computes what the other backend does, in float32, and neither writes nor calls anybody."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tks_edge_runtime
from tests.runtime.conftest import Build
from tks_edge_runtime.backends import open_engine
from tks_edge_runtime.backends.openvino import OpenVinoEngine
from tks_edge_runtime.measure import method_text
from tks_edge_runtime.session import load


def test_logits_are_those_of_onnxruntime(build: Build) -> None:
    built = build(batch=2)
    with load(built.path, "openvino") as one, load(built.path, "onnxruntime") as other:
        assert one.self_test().passed
        assert one.evaluate() == other.evaluate()
        # 64 products of float32, up to 4 in size, that each library sums in an order of its own.
        np.testing.assert_allclose(one.run(built.inputs), other.run(built.inputs), rtol=1e-5, atol=1e-5)


def test_weights_in_int8_leave_the_floats_they_meet_as_they_are(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (1024, 256)).astype(np.int8)
    inputs = generator.normal(size=(1, 1024)).astype(np.float32)
    scale = np.full(256, 2.0**-7, np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["weights", "scale"], ["floats"], axis=1),
        helper.make_node("MatMul", ["input", "floats"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "weights in int8",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, inputs.shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 256])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(scale, "scale")],
    )
    path = tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    logits = open_engine(path, "openvino").run({"input": inputs})["logits"]
    # 1024 products of up to 4, in float32: off by about 1e-5. With inputs rounded to 8 bits, or in bfloat16, by 0.1.
    np.testing.assert_allclose(logits, inputs.astype(np.float64) @ (weights * 2.0**-7), rtol=0, atol=1e-3)


def test_it_says_what_it_really_uses(build: Build) -> None:
    path = build().path
    alone, crowded = open_engine(path, "openvino").describe(), open_engine(path, "openvino", threads=100_000).describe()
    assert alone["inference_precision"] == "float32"
    assert alone["threads"].endswith("(the library's default)")
    assert crowded["threads"].endswith("(of 100000 asked for)")
    assert int(crowded["threads"].split()[0]) <= (os.cpu_count() or 1)


@pytest.mark.parametrize("spinning", [True, False])
def test_nothing_is_claimed_about_spinning(build: Build, spinning: bool) -> None:
    with load(build().path, "openvino", threads=1, spinning=spinning) as session:
        text = " ".join(method_text([session], 3.0))
    assert "in float32, threads: 1, spinning as the library decides (it has no setting)." in text


def test_close_frees_the_graph(build: Build) -> None:
    engine = open_engine(build().path, "openvino", threads=1)
    assert isinstance(engine, OpenVinoEngine)
    held = weakref.ref(engine._request)
    engine.close()
    gc.collect()
    assert held() is None
    with pytest.raises(AttributeError):
        engine.run({"input": np.zeros((1, 1, 8, 8), np.uint8)})


def test_nothing_is_written_and_no_telemetry_is_loaded(build: Build, tmp_path: Path) -> None:
    home, path = tmp_path / "home", build().path
    home.mkdir()
    program = (
        "import sys\n"
        "from tks_edge_runtime.session import load\n"
        f"with load({str(path)!r}, 'openvino') as session: assert session.self_test().passed\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
    )
    before = set(tmp_path.rglob("*"))
    environment = {"PYTHONPATH": str(Path(tks_edge_runtime.__file__).parents[1]), "HOME": str(home)}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=home, env=environment)
    assert set(tmp_path.rglob("*")) == before


INTERRUPTED = """
import gc, signal, sys
from tks_edge_runtime.backends import open_engine

# As Python begins in a terminal; what starts in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
engines = [open_engine(sys.argv[1], "openvino", threads=1) for _ in range(2)]
while engines:
    engines.pop(0).close()
    gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_engines_were_closed_interrupts_and_nothing_worse(build: Build) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(build().path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(tks_edge_runtime.__file__).parents[1])},
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
