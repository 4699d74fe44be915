"""Which of the runtime's tests run on a board, with what `pip install ./runtime[onnxruntime]` brings and pytest."""

from __future__ import annotations

LEFT_OUT = {
    "tests/runtime/test_openvino.py": "OpenVINO is no backend of a Jetson",
    "tests/runtime/test_openvino_gpu.py": "OpenVINO is no backend of a Jetson",
    "tests/runtime/test_tensorrt_bindings.py": "makes environments of its own",
    "tests/runtime/device/test_nvml.py": "the library of discrete GPUs",
    "tests/runtime/reporting/test_browser.py": "a browser; the page is the same on every machine",
    "tests/runtime/test_cpp.py": "needs a compiler for the board",
    "tests/runtime/reporting/test_build.py::test_a_graph_for_another_engine_that_fails_is_told_from_a_damaged_one": (
        "compares with OpenVINO"
    ),
    "tests/runtime/test_backends.py::test_engines_of_all_backends_take_turns": "takes turns with OpenVINO",
    "tests/runtime/test_doctor_command.py::test_doctor_says_what_is_there": "expects OpenVINO",
    "tests/runtime/test_doctor_command.py::test_doctor_goes_on_with_a_backend_that_is_there": "expects OpenVINO",
    "tests/runtime/test_engine_options.py::test_one_backend_runs_a_folder_or_the_options_are_named": "chooses OpenVINO",
    "tests/runtime/doctor/test_software.py::test_an_environment_that_has_everything": "expects OpenVINO",
    "tests/runtime/doctor/test_software.py::test_a_library_that_training_lacks_is_named": "expects those of training",
}
"""What does not run there, and why; and what has `openvino` in its name."""


def selection() -> list[str]:
    """What pytest is told, in front of the tests to run."""
    left_out = [part for name in LEFT_OUT for part in ("--deselect" if "::" in name else "--ignore", name)]
    return ["-q", "-p", "no:cacheprovider", "-k", "not openvino", *left_out]
