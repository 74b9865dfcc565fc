"""The folder link: a product is there whole, or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.drivers.link import FolderLink
from payload.errors import LinkError
from payload.types import Contact

LONG = Contact(0, 100.0, 8e6)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_sent_product_is_a_file_of_its_name_and_nothing_else_is_there(tmp_path: Path) -> None:
    link = FolderLink(tmp_path / "ground" / "station", LONG)
    assert link.send("S2A.00001.classes", b"whole")
    assert names(tmp_path / "ground" / "station") == ["S2A.00001.classes.skp"]
    assert (tmp_path / "ground" / "station" / "S2A.00001.classes.skp").read_bytes() == b"whole"


def test_what_is_sent_twice_is_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        assert FolderLink(tmp_path, LONG).send("P", b"body")
    assert names(tmp_path) == ["P.skp"]
    with pytest.raises(LinkError, match="holds another product of that name"):
        FolderLink(tmp_path, LONG).send("P", b"of another board")
    assert names(tmp_path) == ["P.skp"]
    assert (tmp_path / "P.skp").read_bytes() == b"body"


def test_no_more_goes_down_than_fits_the_contact(tmp_path: Path) -> None:
    link = FolderLink(tmp_path, Contact(0, 10.0, 88.0))  # 110 bytes
    assert link.send("A", bytes(100))
    assert not link.send("B", bytes(11))
    assert link.send("C", bytes(10))
    assert not link.send("D", bytes(1))
    assert names(tmp_path) == ["A.skp", "C.skp"]


def test_what_a_cut_left_behind_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "P.skp.part").write_bytes(b"half of it")
    assert FolderLink(tmp_path, LONG).send("P", b"whole")
    assert names(tmp_path) == ["P.skp"]


@given(name=st.text(min_size=1, max_size=20), other=st.text(min_size=1, max_size=20))
def test_no_name_leaves_the_folder_and_no_two_share_a_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, other: str
) -> None:
    folder = tmp_path_factory.mktemp("ground")
    link = FolderLink(folder / "in", LONG)
    for each in (name, other):
        assert link.send(each, each.encode("utf-8", "surrogatepass"))
    assert names(folder) == ["in"]
    assert len(names(folder / "in")) == len({name, other})
    assert all(entry.endswith(".skp") for entry in names(folder / "in"))


def test_a_folder_that_takes_no_more_breaks_the_contact(tmp_path: Path) -> None:
    link = FolderLink(tmp_path / "ground", LONG)
    (tmp_path / "ground").rmdir()
    with pytest.raises(LinkError, match="cannot be written"):
        link.send("P", b"body")
    (tmp_path / "file").touch()
    with pytest.raises(LinkError, match="cannot be made"):
        FolderLink(tmp_path / "file" / "ground", LONG)


def test_nothing_is_left_of_a_product_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device", str(descriptor))

    link = FolderLink(tmp_path, LONG)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(LinkError, match="No space left"):
        link.send("P", b"body")
    assert names(tmp_path) == []
