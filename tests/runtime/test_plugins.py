"""Entry points of distributions on the path: whose a name is, and what is said of names that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tks_edge_runtime import plugins
from tks_edge_runtime.backends import BACKENDS, Backend, find_backend
from tks_edge_runtime.doctor import software
from tks_edge_runtime.errors import InputError, PluginError

Install = Callable[..., None]
GROUP = "tks_edge.backends"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with these entry points on the path, each with the text of its module."""
    monkeypatch.syspath_prepend(tmp_path)

    def made(distribution: str, **modules: tuple[str, str]) -> None:
        folder = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {module}:GIVEN" for name, (module, _) in modules.items()]
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(lines) + "\n")
        for module, text in modules.values():
            (tmp_path / f"{module}.py").write_text(text)
            monkeypatch.delitem(sys.modules, module, raising=False)

    return made


@pytest.fixture
def found() -> plugins.Plugins[Backend]:
    """Those of this test alone, since what is loaded is kept."""
    return plugins.Plugins("backend", GROUP, Backend, BACKENDS)


WORKING = """
from tks_edge_runtime.backends import Backend
GIVEN = Backend(lambda: "1", lambda device: None, None)
"""


def test_a_plugin_is_imported_when_its_name_is_asked_for(
    install: Install, found: plugins.Plugins[Backend], tmp_path: Path
) -> None:
    mark = tmp_path / "imported"
    install("quick", swift=("swift_module", f"{WORKING}\nopen({str(mark)!r}, 'w').close()"))
    assert found.names() == ("swift",)
    assert plugins.provider(GROUP, "swift") == "quick 1.0"
    assert not mark.exists()
    assert found.load("swift").version() == "1"
    assert mark.exists()


def test_a_name_that_does_not_exist_is_answered_with_the_nearest_of_all(
    install: Install, found: plugins.Plugins[Backend]
) -> None:
    install("quick", swift=("swift_module", WORKING))
    with pytest.raises(InputError, match=r"unknown backend 'swifd'\. Did you mean 'swift'"):
        found.load("swifd")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_library_that_is_not_there", "ModuleNotFoundError: No module named 'a_library_that_is_not_there'"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("NOTHING = 1", "has no attribute 'GIVEN'"),
        ("GIVEN = 1", "is a int .*; a tks_edge_runtime.backends.base.Backend is needed"),
    ],
)
def test_a_broken_plugin_is_named_and_stands_in_nobodys_way(
    install: Install, found: plugins.Plugins[Backend], text: str, said: str
) -> None:
    install("poor", lame=("lame_module", text), swift=("swift_module", WORKING))
    assert found.names() == ("lame", "swift")
    assert found.load("swift").devices == ("cpu",)
    assert find_backend("onnxruntime") is BACKENDS["onnxruntime"]
    with pytest.raises(PluginError, match=said) as raised:
        found.load("lame")
    assert "the backend 'lame' of poor 1.0" in str(raised.value)
    assert f"entry point lame = lame_module:GIVEN in {GROUP}" in str(raised.value)
    assert raised.value.exit_code == 3


def test_the_doctor_lists_a_broken_backend_with_the_reason(install: Install) -> None:
    install("poor", lame=("lame_module", "raise RuntimeError('no luck')"))
    finding = software.backends()["lame", ""]
    assert finding.status == "absent"
    assert "poor 1.0" in str(finding)
    assert "no luck" in str(finding)


def test_a_name_that_comes_along_cannot_be_taken(install: Install, found: plugins.Plugins[Backend]) -> None:
    install("greedy", onnxruntime=("greedy_module", WORKING))
    assert find_backend("onnxruntime") is BACKENDS["onnxruntime"]
    assert found.names() == ()
    with pytest.raises(InputError, match=r"greedy 1\.0 calls a backend 'onnxruntime', .* of tks-edge"):
        found.load("anything")


def test_a_name_of_two_plugins_is_refused(install: Install, found: plugins.Plugins[Backend]) -> None:
    install("one", swift=("swift_module", WORKING))
    install("two", swift=("other_module", WORKING))
    with pytest.raises(InputError, match=r"one 1\.0 and two 1\.0 both give the name 'swift'"):
        found.load("swift")


def test_what_is_installed_is_not_looked_through_for_names_that_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda **_: pytest.fail("looked through"))
    for name in BACKENDS:
        assert find_backend(name) is BACKENDS[name]
