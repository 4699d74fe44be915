"""The main job from end to end, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.e2e.conftest import Finished, tks_edge

STEPS = (1, 2, 4, 8)


def test_the_demo_leaves_what_it_promises(demo: Path) -> None:
    found = {path.name for path in (demo / "demo/artifacts").iterdir()}
    artifacts = {f"digits-t{t}-fp32.onnx" for t in STEPS} | {"digits-step-fp32.onnx", "digits-relu-t1-fp32.onnx"}
    assert {name for name in found if name.endswith(".onnx")} == artifacts
    assert {name for name in found if name.endswith(".golden.npz")} == {
        a.replace(".onnx", ".golden.npz") for a in artifacts
    }
    assert len([name for name in found if name.endswith(".eval.npz")]) == 1
    assert [name for name in found if name.endswith(".exit.json")] == ["digits-step-fp32.exit.json"]
    assert {path.name for path in (demo / "demo/report").iterdir()} == {
        "report.html",
        "report.json",
        "report.md",
        "plots",
    }


def test_artifacts_are_exactly_as_accurate_as_the_network(demo: Path) -> None:
    evaluated = tks_edge("eval", "demo/runs/digits", "--timesteps", "1,2,4,8", "--json", cwd=demo).document
    report = json.loads((demo / "demo/report/report.json").read_text())
    expected = {row["timesteps"]: row["correct"] for row in evaluated["accuracies"]}
    for form in ("static", "step"):
        measured = {
            row["timesteps"]: row["accuracy"]["correct"]
            for row in report["rows"]
            if not row["is_twin"] and row["form"] == form and row["early_exit"] is None
        }
        assert measured == ({8: expected[8]} if form == "step" else expected)
    assert all(row["accuracy"]["total"] == 597 for row in report["rows"])
    assert [row["name"] for row in report["rows"] if row["is_twin"]] == ["digits-relu"]


def test_the_network_is_as_accurate_as_it_is_claimed_to_be(demo: Path) -> None:
    report = json.loads((demo / "demo/report/report.json").read_text())
    spiking = [row for row in report["rows"] if not row["is_twin"] and row["early_exit"] is None]
    percent = {row["timesteps"]: row["accuracy"]["percent"] for row in spiking}
    assert percent[8] >= 98.0
    assert percent[1] >= 96.0


def test_early_exit_is_as_accurate_as_all_timesteps_in_few(demo: Path) -> None:
    report = json.loads((demo / "demo/report/report.json").read_text())
    (early,) = (row for row in report["rows"] if row["early_exit"] is not None)
    at_train = next(row for row in report["rows"] if row["timesteps"] == 8 and row["early_exit"] is None)
    stopped = early["early_exit"]["stopped"]
    assert sum(stopped) == 597
    assert sum(t * count for t, count in enumerate(stopped, start=1)) / 597 <= 1.5
    assert early["accuracy"]["percent"] >= at_train["accuracy"]["percent"] - 0.5


def test_the_demo_names_what_it_picked(demo: Path) -> None:
    report = json.loads((demo / "demo/report/report.json").read_text())
    shipped = report["rows"][report["answer"]["row"]]
    picked = tks_edge("pick", "demo/report", "--json", cwd=demo)
    assert picked.code == 0, picked.err
    assert picked.document["pick"]["file"] == shipped["file"]


def test_a_demo_run_again_trains_nothing_twice(demo: Path) -> None:
    weights = demo / "demo/runs/digits/model.safetensors"
    before = weights.stat().st_ino, weights.read_bytes()
    done = tks_edge("train", "--resume", "--output", "demo/runs/digits", "--json", cwd=demo)
    assert done.code == 0, done.err
    assert (weights.stat().st_ino, weights.read_bytes()) == before


def test_verify_passes_and_finds_a_graph_of_other_weights(demo: Path) -> None:
    few = ("--samples", "16", "--eval-samples", "16")  # the demo has verified it on all
    artifact = "demo/artifacts/digits-t2-fp32.onnx"
    good = tks_edge("verify", artifact, "--against", "demo/runs/digits", *few, "--json", cwd=demo)
    assert good.code == 0, good.err
    assert good.document["problem"] is None
    assert [layer["layer"] for layer in good.document["layers"]] == ["body.0", "body.2", "body.4", "body.6", "body.8"]
    other = tks_edge("verify", artifact, "--against", "demo/runs/digits-relu", *few, cwd=demo)
    assert other.code == 1
    assert "exported from other weights" in other.err


def test_run_names_the_digit_in_a_picture(demo: Path, tmp_path: Path) -> None:
    digits = load_digits()
    for index in range(10):
        # Ten times the size of the original, as a camera or a drawing program would give it.
        picture = Image.fromarray((digits.images[index] * 255 / 16).astype("uint8"))
        picture.resize((160, 160), Image.Resampling.BILINEAR).save(tmp_path / f"{index}.png")
    names = [tmp_path / f"{index}.png" for index in range(10)]
    done = tks_edge("run", "demo/artifacts/digits-t8-fp32.onnx", *names, "--json", cwd=demo)
    assert done.code == 0, done.err
    right = [
        entry["classes"][0]["label"] == str(digits.target[index])
        for index, entry in enumerate(done.document["predictions"])
    ]
    assert sum(right) >= 9  # of its own kind, if not its own size


def test_profile_and_info_and_doctor_answer(demo: Path) -> None:
    info = tks_edge("info", "demo/artifacts/digits-t2-fp32.onnx", "--json", cwd=demo).document
    assert (info["manifest"]["timesteps"], info["manifest"]["train_timesteps"]) == (2, 8)
    run = tks_edge("info", "demo/runs/digits", "--json", cwd=demo).document
    assert run["weights_sha256"] == info["manifest"]["weights_sha256"]
    assert tks_edge("info", "demo/runs/digits", cwd=demo).code == 0
    profile = tks_edge("profile", "demo/artifacts/digits-t2-fp32.onnx", "--json", cwd=demo).document
    assert profile["latency"]["summary"]["n"] > 0
    assert tks_edge("doctor", cwd=demo).code == 0


def test_export_without_a_run_takes_the_newest_and_says_which(demo: Path, tmp_path: Path) -> None:
    done = tks_edge("export", "--timesteps", "2", "--verify-samples", "4", "--output", tmp_path, cwd=demo / "demo")
    assert done.code == 0, done.err
    assert "exporting runs/digits, the newest run that can be" in done.out
    assert (tmp_path / "digits-t2-fp32.onnx").is_file()


def refused(demo: Path, *arguments: str) -> Finished:
    done = tks_edge(*arguments, cwd=demo)
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) <= 2, done.err
    return done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "demo/runs/digits", "--timesteps", "0"), "timesteps is 0; allowed is 1 to 64"),
        (("export", "demo/runs/digits", "--timesteps", "1000"), "timesteps is 1000; allowed is 1 to 64"),
        (("export", "demo/runs/digits", "--timesteps", "two"), "'two', which is neither a T nor a range"),
        (("export", "demo/runs/digits", "--format", "onxn"), "unknown format 'onxn'. Did you mean 'onnx'?"),
        (("export", "demo/runs/digits", "--precision", "fp23"), "unknown precision 'fp23'"),
        (("export", "demo/runs/digits-relu", "--timesteps", "2"), "has no state and runs one pass. Use --timesteps 1."),
        (("export", "nowhere"), "nowhere is no folder"),
        (("export", "demo/artifacts"), "demo/artifacts is no run directory"),
        (("export", "demo/runs/digits", "--output", "demo/runs/digits/config.json"), "a file stands where a folder"),
        (("verify", "nowhere.onnx", "--against", "demo/runs/digits"), "cannot read nowhere.onnx"),
        (("verify", "demo/artifacts/digits-t2-fp32.onnx", "--against", "nowhere"), "nowhere is no folder"),
        (("info", "demo/report/report.html"), "is not an .onnx file"),
        (("demo", "--output", "demo/report/report.md"), "demo/report/report.md is a file"),
    ],
)
def test_wrong_use_gets_one_clear_error(demo: Path, arguments: tuple[str, ...], message: str) -> None:
    done = refused(demo, *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (demo / "artifacts").exists()


def test_a_truncated_checkpoint_is_refused(demo: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        content = (demo / "demo/runs/digits" / name).read_bytes()
        (tmp_path / name).write_bytes(content if name.endswith("json") else content[: len(content) // 2])
    done = refused(demo, "export", str(tmp_path), "--timesteps", "2")
    assert done.code == 2
    assert "model.safetensors" in done.err
