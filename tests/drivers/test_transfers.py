"""The journal of transfers, the files that come in, and the contact plan's file, on real disks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.cfdp.pdus import Head, TransactionId
from payload.core.cfdp.records import OutgoingFile, ReceiveSnapshot, SendSnapshot
from payload.core.cfdp.rows import key_of, snapshot_of, text_of
from payload.drivers.incoming_files import FolderOfFiles
from payload.drivers.plan_file import PlanFile
from payload.drivers.transfer_journal import APPLICATION_ID, SqliteTransferJournal
from payload.errors import ConfigError, StoreError
from payload.transfer_ports import CLOSED_TRANSFERS_MAX, ClosedTransfer

ids = st.builds(TransactionId, st.integers(0, 65535), st.integers(0, 2**32 - 1))
whole = st.integers(0, 2**32 - 1)
sends = st.builds(
    SendSnapshot,
    ids,
    st.builds(OutgoingFile, st.text(max_size=20), whole, whole, st.floats(-1e9, 1e9), st.booleans()),
    whole,
    st.booleans(),
    st.booleans(),
)
receives = st.builds(
    ReceiveSnapshot,
    st.builds(Head, ids, st.integers(0, 65535), st.booleans(), st.just(2), st.sampled_from([1, 2, 4, 8])),
    st.none() | st.text(max_size=20),
    st.none() | whole,
    st.none() | st.sampled_from([0, 3, 15]),
    st.booleans(),
    st.none() | st.tuples(whole, whole),
    st.lists(st.tuples(whole, whole), max_size=4).map(tuple),
    st.none() | st.integers(0, 15),
)


@given(sends | receives)
def test_a_snapshot_comes_back_from_its_text(snapshot: SendSnapshot | ReceiveSnapshot) -> None:
    assert snapshot_of(text_of(snapshot)) == snapshot
    assert key_of(snapshot_of(text_of(snapshot))) == key_of(snapshot)


@pytest.mark.parametrize("text", ["", "{}", "[]", '["out", 1]', '["in", 1, 2, 3]', '["out", 1, 2, {}, {}]'])
def test_a_damaged_text_is_a_store_error(text: str) -> None:
    with pytest.raises(StoreError, match="journal is damaged"):
        snapshot_of(text)


def test_the_journal_knows_open_and_closed_transfers_and_no_sequence_twice(tmp_path: Path) -> None:
    journal = SqliteTransferJournal(tmp_path / "j", 1)
    assert journal.load() == ([], {}, 1)
    journal.commit({(2, 1): "a", (2, 2): "b"}, {}, 3)
    endings = {(1, 8): ClosedTransfer(0, (7, 5)), (1, 9): ClosedTransfer(5, None)}
    journal.commit({(2, 2): "c"}, {(2, 1): None, **endings}, 3)
    journal.close()
    journal = SqliteTransferJournal(tmp_path / "j", 1)
    assert journal.load() == (["c"], endings, 3)
    journal.commit({}, {(2, 2): None}, 2)
    assert journal.load() == ([], endings, 3)
    journal.close()


def test_the_journal_remembers_the_latest_closed_ones_only(tmp_path: Path) -> None:
    journal = SqliteTransferJournal(tmp_path / "j", 1)
    ending = ClosedTransfer(0, (1, 2))
    journal.commit({}, {(1, number): ending for number in range(CLOSED_TRANSFERS_MAX + 10)}, 1)
    journal.commit({}, {(2, number): None for number in range(100)}, 1)  # our own take no room
    closed = journal.load()[1]
    assert list(closed) == [(1, number) for number in range(10, CLOSED_TRANSFERS_MAX + 10)]
    journal.close()


def test_one_process_has_the_journal_and_no_other_file_is_taken_for_one(tmp_path: Path) -> None:
    journal = SqliteTransferJournal(tmp_path / "j", 1)
    with pytest.raises(StoreError, match="another station or payload"):
        SqliteTransferJournal(tmp_path / "j", 1)
    journal.close()
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 40)
    with pytest.raises(StoreError, match="text"):
        SqliteTransferJournal(tmp_path / "text", 1)


def test_a_journal_of_an_earlier_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "j")
    old.executescript(
        f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE opened (source, sequence, snapshot);"
        "CREATE TABLE closed (number, source, sequence, condition);"
        "CREATE TABLE counter (name, value); INSERT INTO counter VALUES ('next_sequence', 7)"
    )
    old.close()
    for _ in range(2):
        with pytest.raises(StoreError, match="journal of transfers of another version"):
            SqliteTransferJournal(tmp_path / "j", 1)
    old = sqlite3.connect(tmp_path / "j")
    assert old.execute("SELECT value FROM counter").fetchall() == [(7,)]
    old.close()


def test_a_new_journal_begins_with_the_number_that_it_is_told_and_an_old_one_goes_on(tmp_path: Path) -> None:
    for first, found in ((1_800_000_000, 1_800_000_000), (1_900_000_000, 1_800_000_001)):
        journal = SqliteTransferJournal(tmp_path / "j", first)
        assert journal.load()[2] == found
        journal.commit({}, {}, 1_800_000_001)
        journal.close()


_COMMITTING = """
import sys
from pathlib import Path
from payload.drivers.transfer_journal import SqliteTransferJournal
from payload.transfer_ports import ClosedTransfer
journal = SqliteTransferJournal(Path(sys.argv[1]), 1)
for number in range(1, 1_000_000):
    journal.commit({(2, number): str(number)}, {(2, number - 1): ClosedTransfer(0, (1, 2))}, number + 1)
    print(number, flush=True)
"""


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    for _ in range(3):
        path = tmp_path / "j"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", _COMMITTING, str(path)]
        last = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last = int(line)
                if last == 20:
                    process.send_signal(signal.SIGKILL)
        journal = SqliteTransferJournal(path, 1)
        texts, closed, next_sequence = journal.load()
        journal.close()
        (text,) = texts
        assert int(text) in (last, last + 1)
        assert next_sequence == int(text) + 1
        assert (2, int(text) - 1) in closed


def test_a_file_is_whole_under_its_name_or_not_there(tmp_path: Path) -> None:
    files = FolderOfFiles(tmp_path / "parts", tmp_path / "whole", ".skp")
    files.write((2, 1), 4, b"5678")
    assert list((tmp_path / "whole").iterdir()) == []
    files.write((2, 1), 0, b"1234")
    files.sync()
    assert b"".join(files.chunks((2, 1), "a")) == b"12345678"
    files.deliver((2, 1), "a")
    files.deliver((2, 1), "a")  # a restart came in between
    assert b"".join(files.chunks((2, 1), "a")) == b"12345678"
    assert (tmp_path / "whole" / "a.skp").read_bytes() == b"12345678"
    assert list((tmp_path / "parts").iterdir()) == []
    files.write((2, 2), 0, b"")
    files.deliver((2, 2), "empty")
    assert (tmp_path / "whole" / "empty.skp").read_bytes() == b""
    files.write((2, 3), 0, b"gone")
    files.drop((2, 3))
    assert list((tmp_path / "parts").iterdir()) == []
    files.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b", "a\nb", "ä" * 20])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    files = FolderOfFiles(tmp_path / "parts", tmp_path / "whole")
    files.write((2, 1), 0, b"x")
    files.deliver((2, 1), name)
    (path,) = (tmp_path / "whole").iterdir()
    assert path == files.path_of(name)
    assert path.read_bytes() == b"x"
    files.close()


def test_names_too_long_for_the_disk_are_told_apart(tmp_path: Path) -> None:
    files = FolderOfFiles(tmp_path / "parts", tmp_path / "whole", ".skp")
    for number in range(3):
        files.write((2, number), 0, b"x")
        files.deliver((2, number), "é" * 120 + str(number))
    files.close()
    assert len(list((tmp_path / "whole").iterdir())) == 3


PLAN = """
contacts:
  - start_utc: "2026-11-21T10:00:00Z"
    duration_s: 480.0
    rate_bit_s: 2e6
    overhead_ratio: 0.1
  - start_utc: "2026-11-21T11:30:00.5Z"
    duration_s: 60.0
    rate_bit_s: 1e5
    overhead_ratio: 0.0
"""


def test_a_plan_is_given_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "contacts.yaml"
    plan = PlanFile(path)
    assert plan.changed() == ()
    assert plan.changed() is None
    path.write_text(PLAN)
    first, second = plan.changed() or ()
    assert (first.start_utc_ns, first.duration_s) == (1_795_255_200_000_000_000, 480.0)
    assert first.capacity_bytes == 108_000_000
    assert second.start_utc_ns - first.start_utc_ns == 5_400_500_000_000
    assert plan.changed() is None
    path.write_text(PLAN.replace("480.0", "5400.0"))
    os.utime(path, ns=(1, 1))
    assert len(plan.changed() or ()) == 2
    path.unlink()
    assert plan.changed() == ()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a file"):
        plan.changed()
    assert plan.changed() is None
    assert PlanFile(None).changed() is None


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("480.0", "5401.0", "before the end of the one before"),
        ("10:00:00Z", "10:00:00", "is no time in UTC"),
        ("10:00:00Z", "25:00:00Z", "is no time in UTC"),
        ("10:00:00Z", "10:00:00+05:00Z", "is no time in UTC"),
        ("10:00:00Z", "10:00:00+00:00Z", "is no time in UTC"),
        ("2e6", "0", "rate_bit_s"),
        ("overhead_ratio: 0.1", "overhead: 0.1", "unknown key"),
        ("contacts:", "passes:", "unknown key"),
        ("0.1", "0.95", "overhead_ratio"),
    ],
)
def test_a_plan_with_a_fault_is_refused_once_with_the_line(
    tmp_path: Path, old: str, new: str, what: str
) -> None:
    path = tmp_path / "contacts.yaml"
    path.write_text(PLAN.replace(old, new, 1))
    plan = PlanFile(path)
    with pytest.raises(ConfigError, match=rf"contacts\.yaml:\d+: .*{what}"):
        plan.changed()
    assert plan.changed() is None
