"""The inbox on a real disk and a real FIFO: what is told, and what a name may do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from payload.drivers import inbox as inbox_module
from payload.drivers.inbox import FOLDER_FILES_MAX, FifoInbox, FolderInbox, open_inbox


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[FifoInbox, int]]:
    os.mkfifo(tmp_path / "fifo")
    inbox = open_inbox(tmp_path / "fifo")
    assert isinstance(inbox, FifoInbox)
    writer = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    yield inbox, writer
    os.close(writer)
    inbox.close()


def written(folder: Path, name: str, size_bytes: int, second: int) -> None:
    (folder / name).write_bytes(bytes(size_bytes))
    os.utime(folder / name, (second, second))


def test_strips_are_the_headers_pictures_and_folders_the_oldest_first(tmp_path: Path) -> None:
    inbox = FolderInbox(tmp_path / "in")
    for second, name in enumerate(("c.yaml", "b.TIF", "b.txt", ".hidden.yaml", "c.raw", "d.xml"), start=1):
        written(tmp_path / "in", name, second, second)
    (tmp_path / "in" / "a.SAFE").mkdir()
    found = inbox.listing()
    assert found is not None
    assert [Path(each.path).name for each in found] == ["c.yaml", "b.TIF", "d.xml", "a.SAFE"]
    assert not any(each.fault for each in found)


def test_the_stamp_changes_with_every_part_of_the_strip_and_with_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    inbox = FolderInbox(folder)
    (folder / "s.SAFE" / "deep").mkdir(parents=True)
    written(folder, "a.yaml", 5, 100)
    written(folder, "a.raw", 50, 100)

    def stamps() -> dict[str, str]:
        return {Path(each.path).name: each.stamp for each in inbox.listing() or ()}

    seen = [stamps()]
    written(folder, "a.raw", 60, 100)
    seen.append(stamps())
    written(folder / "s.SAFE" / "deep", "band.jp2", 7, 100)
    seen.append(stamps())
    written(folder, "b.raw", 60, 100)
    seen.append(stamps())
    pairs = list(pairwise(seen))
    assert [now["a.yaml"] != then["a.yaml"] for then, now in pairs] == [True, False, False]
    assert [now["s.SAFE"] != then["s.SAFE"] for then, now in pairs] == [False, True, False]


def test_every_file_of_the_folder_is_looked_at_a_bounded_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = FolderInbox(tmp_path)
    scanned: list[str] = []
    scandir = os.scandir

    def counted(path: str) -> object:
        scanned.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.setattr(Path, "iterdir", lambda _: pytest.fail("the folder is listed again"))
    for number in range(50):
        written(tmp_path, f"s{number}.yaml", 1, number)
        written(tmp_path, f"s{number}.raw", 1, number)
    found = inbox.listing()
    assert found is not None
    assert len(found) == 50
    assert scanned == [str(tmp_path)]


def test_a_look_at_very_much_ends_in_a_later_call_and_then_tells_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "FILES_AT_ONCE", 100)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "band.jp2").touch()
    folder = tmp_path / "in"
    inbox = FolderInbox(folder)
    for number in range(120):
        written(folder, f"s{number:03d}.yaml", 1, number)
    (folder / "t.SAFE").symlink_to(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere", (200, 200))
    for _ in range(3):
        assert inbox.listing() is None
        found = inbox.listing()
        assert found is not None
        assert [Path(each.path).name for each in found] == [f"s{n:03d}.yaml" for n in range(120)] + ["t.SAFE"]
        assert found[-1].stamp.startswith("1:0:")


def test_a_tree_that_is_no_strip_is_told_and_not_searched(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    inbox = FolderInbox(folder)
    tree = tmp_path / "tree"
    for number in range(FOLDER_FILES_MAX // 10):
        (tree / str(number)).mkdir(parents=True)
        for file in range(10):
            (tree / str(number) / str(file)).touch()
    (folder / "link").symlink_to(tree)
    (folder / "round").symlink_to(folder)
    (folder / "nowhere").symlink_to("nowhere")
    written(folder, "s.yaml", 1, 100)
    while (found := inbox.listing()) is None:
        pass
    faults = {Path(each.path).name: each.fault for each in found}
    assert faults == {"link": "a folder of more than 2000 files is no strip", "round": "", "s.yaml": ""}


def test_a_name_that_is_no_text_is_refused_by_name_and_the_others_are_told(tmp_path: Path) -> None:
    inbox = FolderInbox(tmp_path)
    (tmp_path / os.fsdecode(b"str\xffip")).mkdir()
    written(tmp_path, "good.yaml", 1, 100)
    found = sorted(inbox.listing() or (), key=lambda each: each.path)
    assert [Path(each.path).name for each in found] == ["good.yaml", "str\\xffip"]
    assert [each.fault for each in found] == ["", "the name is not UTF-8"]
    for each in found:
        each.path.encode()


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    inbox = FolderInbox(tmp_path / "in")
    assert inbox.listing() == []
    (tmp_path / "in").rename(tmp_path / "away")
    assert inbox.listing() is None


@pytest.mark.parametrize(
    ("line", "shown"),
    [(b"/tmp/a\0b", "/tmp/a\\0b"), (b"/tmp/\xff", "/tmp/\\xff"), (b"/" * 5000, "/" * 4097)],
)
def test_a_line_that_can_be_no_path_is_refused_and_the_next_is_taken(
    fifo: tuple[FifoInbox, int], line: bytes, shown: str
) -> None:
    inbox, writer = fifo
    half = len(line) - 1
    os.write(writer, b"/first\n" + line[:half])
    found = inbox.listing()
    os.write(writer, line[half:] + b"\n\n /\xc3\xbcnicode.yaml \n")
    found += inbox.listing()
    assert [each.path for each in found if not each.fault] == ["/first", "/ünicode.yaml"]
    (refused,) = [each for each in found if each.fault]
    assert refused.path.startswith(shown[:100])
