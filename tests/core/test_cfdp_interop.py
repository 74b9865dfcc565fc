"""`payload.core.cfdp` against an independent implementation, cfdp-py, on a clean link, both ways."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.core.cfdp_link import FLIGHT, GROUND, NS_PER_S, End, parameters

pytest.importorskip("cfdppy", reason="the independent implementation is in the extra 'test'")

from cfdppy import PutRequest
from cfdppy.handler.dest import DestHandler
from cfdppy.handler.source import SourceHandler
from cfdppy.mib import (
    CheckTimerProvider,
    DefaultFaultHandlerBase,
    IndicationConfig,
    LocalEntityConfig,
    RemoteEntityConfig,
    RemoteEntityConfigTable,
)
from cfdppy.user import CfdpUserBase
from spacepackets.cfdp import ChecksumType, TransmissionMode
from spacepackets.cfdp.pdu import PduFactory
from spacepackets.countdown import Countdown
from spacepackets.seqcount import SeqCountProvider
from spacepackets.util import ByteFieldU16

MODES = {1: TransmissionMode.UNACKNOWLEDGED, 2: TransmissionMode.ACKNOWLEDGED}


class Faults(DefaultFaultHandlerBase):
    """Any fault of theirs fails the test."""

    def notice_of_suspension_cb(self, *fault: Any) -> None:
        raise AssertionError(fault)

    notice_of_cancellation_cb = abandoned_cb = ignore_cb = notice_of_suspension_cb


class User(CfdpUserBase):
    """Remembers how it ended."""

    finished: Any = None

    def transaction_finished_indication(self, params: Any) -> None:
        self.finished = params.finished_params

    def _nothing(self, *_: Any) -> None:
        pass

    transaction_indication = eof_sent_indication = metadata_recv_indication = _nothing
    file_segment_recv_indication = report_indication = suspended_indication = _nothing
    resumed_indication = fault_indication = abandoned_indication = eof_recv_indication = _nothing


class Timers(CheckTimerProvider):
    def provide_check_timer(self, *_: Any, **__: Any) -> Countdown:
        return Countdown(timedelta(seconds=2))


def peers(mode: int, checksum: ChecksumType) -> RemoteEntityConfigTable:
    table = RemoteEntityConfigTable()
    for entity_id in (FLIGHT, GROUND):
        table.add_config(
            RemoteEntityConfig(
                entity_id=ByteFieldU16(entity_id),
                max_packet_len=1100,
                max_file_segment_len=1024,
                closure_requested=False,
                crc_on_transmission=True,
                default_transmission_mode=MODES[mode],
                crc_type=checksum,
            )
        )
    return table


def drive(end: End, theirs: Any, user: User, limit_s: float = 20.0) -> None:
    """PDUs to and fro until both say that they are done."""
    began_s = time.monotonic()
    while end.journal or not user.finished:
        assert time.monotonic() - began_s < limit_s
        now_ns = int((time.monotonic() - began_s) * NS_PER_S)
        raw = end.pull(now_ns)
        theirs.state_machine(PduFactory.from_raw(raw) if raw else None)
        while theirs.packets_ready:
            end.entity.receive(bytes(theirs.get_next_packet().pdu.pack()), now_ns)
            end.perform()
        end.entity.tick(now_ns)


CONTENTS = (b"", b"x", bytes(range(256)) * 700)


@pytest.mark.parametrize("content", CONTENTS, ids=len)
@pytest.mark.parametrize("mode", [1, 2])
def test_what_we_send_they_receive(mode: int, content: bytes, tmp_path: Path) -> None:
    end, user = End(parameters(FLIGHT, GROUND)), User()
    local = LocalEntityConfig(ByteFieldU16(GROUND), IndicationConfig(), Faults())
    theirs = DestHandler(local, user, peers(mode, ChecksumType.CRC_32), Timers())
    name = str(tmp_path / "down")
    end.entity.thaw(0)
    end.put(name, content, is_acknowledged=mode == 2)
    drive(end, theirs, user)
    assert (tmp_path / "down").read_bytes() == content
    assert user.finished.condition_code == 0
    assert [ended.is_delivered for ended in end.ended] == [True] * (mode == 2)


@pytest.mark.parametrize("content", CONTENTS, ids=len)
@pytest.mark.parametrize("checksum", [ChecksumType.CRC_32, ChecksumType.MODULAR], ids=lambda kind: kind.name)
@pytest.mark.parametrize("mode", [1, 2])
def test_what_they_send_we_receive(mode: int, checksum: ChecksumType, content: bytes, tmp_path: Path) -> None:
    end, user = End(parameters(FLIGHT, GROUND)), User()
    local = LocalEntityConfig(ByteFieldU16(GROUND), IndicationConfig(), Faults())
    theirs = SourceHandler(local, user, peers(mode, checksum), Timers(), SeqCountProvider(16))
    (tmp_path / "up").write_bytes(content)
    request = PutRequest(ByteFieldU16(FLIGHT), tmp_path / "up", Path("in/here"), MODES[mode], False)
    end.entity.thaw(0)
    theirs.put_request(request)
    drive(end, theirs, user)
    while end.entity.receiving():
        end.pull(0)
    assert end.files == {"in/here": content}
    assert user.finished.condition_code == 0
