"""Archives from a server that breaks off, goes on, or gives something else."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR10

from tests.tks_edge.original_formats import write_cub, write_dogs
from tks_edge.data.expected import EXPECTED
from tks_edge.data.registry import open_dataset
from tks_edge_runtime.errors import InputError, MissingError


class Site:
    """What a test says of the server, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks_after: int | None = None
        self.resumes = True
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append((self.path[1:], wanted))
            content = served.files[self.path[1:]]
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.resumes else 0
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[begin : served.breaks_after])
            served.breaks_after = None

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def packed(folder: Path, names: tuple[str, ...], mode: str) -> bytes:
    """An archive of what lies in `folder` under these names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name in names:
            archive.add(folder / name, name)
    return buffer.getvalue()


def publish(name: str, site: Site, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the set's files be these, at this site."""
    site.files |= archives
    files = tuple(
        dataclasses.replace(
            file,
            size=len(archives[file.name]),
            digest=hashlib.new(file.algorithm, archives[file.name]).hexdigest(),
            url=f"{site.url}/{file.name}",
        )
        for file in EXPECTED[name].files
    )
    monkeypatch.setitem(EXPECTED, name, dataclasses.replace(EXPECTED[name], files=files))


@pytest.fixture
def birds(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with CUB-200-2011, small."""
    write_cub(tmp_path / "made")
    archive = packed(tmp_path / "made", ("CUB_200_2011",), "w:gz")
    publish("cub200", site, {"CUB_200_2011.tgz": archive}, monkeypatch)
    return site


def test_a_set_is_fetched_unpacked_and_opened_and_not_fetched_again(birds: Site, tmp_path: Path) -> None:
    for _ in range(2):
        assert len(open_dataset("cub200", tmp_path / "data", download=True).test) == 9
        assert birds.asked == [("CUB_200_2011.tgz", None)]
    assert {path.name for path in (tmp_path / "data/CUB_200_2011").iterdir()} == {
        "images",
        "images.txt",
        "image_class_labels.txt",
        "train_test_split.txt",
        "classes.txt",
    }


def test_archives_that_hold_no_folder_are_unpacked_into_one(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dogs(tmp_path / "made")
    made = tmp_path / "made/stanford_dogs"
    lists = packed(made, ("train_list.mat", "test_list.mat"), "w")
    publish("stanford-dogs", site, {"images.tar": packed(made, ("Images",), "w"), "lists.tar": lists}, monkeypatch)
    assert len(open_dataset("stanford-dogs", tmp_path / "data", download=True).test) == 9


@pytest.mark.parametrize("resumes", [True, False])
def test_what_broke_off_is_gone_on_with(resumes: bool, birds: Site, tmp_path: Path) -> None:
    birds.breaks_after, birds.resumes = 1000, resumes
    with pytest.raises(MissingError) as error:
        open_dataset("cub200", tmp_path / "data", download=True)
    assert "could not be downloaded" in str(error.value)
    assert "1,000 of" in str(error.value)
    assert not (tmp_path / "data/CUB_200_2011/images.txt").exists()
    assert len(open_dataset("cub200", tmp_path / "data", download=True).test) == 9
    assert [wanted for _, wanted in birds.asked] == [None, "bytes=1000-"]


def test_something_else_than_was_published_is_removed(birds: Site, tmp_path: Path) -> None:
    good = birds.files["CUB_200_2011.tgz"]
    birds.files["CUB_200_2011.tgz"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(MissingError, match="It was removed"):
        open_dataset("cub200", tmp_path / "data", download=True)
    assert list((tmp_path / "data/CUB_200_2011").iterdir()) == []
    birds.files["CUB_200_2011.tgz"] = good
    assert len(open_dataset("cub200", tmp_path / "data", download=True).test) == 9


def test_a_site_that_does_not_answer(birds: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = EXPECTED["cub200"].files
    gone = dataclasses.replace(file, url="http://127.0.0.1:1/CUB_200_2011.tgz")
    monkeypatch.setitem(EXPECTED, "cub200", dataclasses.replace(EXPECTED["cub200"], files=(gone,)))
    with pytest.raises(MissingError) as error:
        open_dataset("cub200", tmp_path / "data", download=True)
    assert "could not be downloaded" in str(error.value)
    assert f"so that {tmp_path}/data/CUB_200_2011 holds images/, images.txt" in str(error.value)
    assert not (tmp_path / "data/CUB_200_2011").exists()


def test_too_little_room_is_said_before_the_first_byte(
    birds: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("tks_edge.data.download.shutil.disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(MissingError, match=r"cub200 needs .* GB in .* and 0\.0 GB are free"):
        open_dataset("cub200", tmp_path / "data", download=True)
    assert not birds.asked
    assert not (tmp_path / "data").exists()


def test_what_lies_there_is_never_replaced(birds: Site, tmp_path: Path) -> None:
    mine = tmp_path / "data/CUB_200_2011/images/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(InputError, match="Move it away"):
        open_dataset("cub200", tmp_path / "data", download=True)
    assert mine.exists()
    assert not birds.asked


def test_two_at_once_do_not_write_into_each_other(birds: Site, tmp_path: Path) -> None:
    partial = tmp_path / "data/CUB_200_2011/.CUB_200_2011.tgz.partial"
    partial.parent.mkdir(parents=True)
    with partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingError, match="another process is downloading"):
            open_dataset("cub200", tmp_path / "data", download=True)
    assert len(open_dataset("cub200", tmp_path / "data", download=True).test) == 9


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.txt").write_text("outside")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(tmp_path / "evil.txt", "../../../evil2.txt")
    publish("cub200", site, {"CUB_200_2011.tgz": buffer.getvalue()}, monkeypatch)
    with pytest.raises(MissingError, match="cannot be unpacked"):
        open_dataset("cub200", tmp_path / "data", download=True)
    assert not list(tmp_path.rglob("evil2.txt"))


def test_a_cifar_that_is_not_the_published_one_asks_for_no_other_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files[CIFAR10.filename] = b"<html>Not today</html>"
    monkeypatch.setattr(CIFAR10, "url", f"{site.url}/{CIFAR10.filename}")
    with pytest.raises(MissingError, match="is not the published file") as error:
        open_dataset("cifar10", tmp_path, download=True)
    assert CIFAR10.tgz_md5 in str(error.value)
    assert "--download" not in str(error.value)
