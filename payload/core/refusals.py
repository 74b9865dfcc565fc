"""Why a model, a root file, a transfer or a revert is not taken: one number for each reason, never reused.

The number goes into the event, the service 1 failure report and the exit line of
`payload install`; the old model runs on in every case.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, unique

from payload.errors import InstallError

REFUSED_CODE = 128
"""Service 1 failure codes from here on: this plus the number of the refusal."""


@unique
class Refusal(IntEnum):
    NOT_A_PACKAGE = 1
    TOO_LARGE = 2
    WRONG_LENGTH = 3
    DAMAGED = 4
    NOT_CANONICAL = 5
    TOO_FEW_SIGNATURES = 6
    WRONG_SIGNATURE = 7
    NO_ROOT = 8
    ROOT_NOT_NEXT = 9
    MALFORMED = 10
    OLD_INDEX = 11
    WRONG_PAYLOAD = 12
    WRONG_RUNTIME = 13
    WRONG_HARDWARE = 14
    DOES_NOT_FIT = 15
    WRONG_HASH = 16
    BASE_MISSING = 17
    WRONG_DELTA = 18
    NO_ROOM = 19
    TRIAL_RUNS = 20
    READ_BACK = 21
    WRONG_ANSWER = 22
    TOO_SLOW = 23
    TOO_BIG = 24
    DEVICE_LOST = 25
    CHUNK_DAMAGED = 26
    CHUNK_FOREIGN = 27
    CHUNKS_MISSING = 28
    INTERRUPTED = 29
    FAR_FROM_FACTORY = 30
    NO_TRIAL = 31


MEANINGS: Mapping[Refusal, str] = {
    Refusal.NOT_A_PACKAGE: "no package, delta or root file of a format that this payload reads",
    Refusal.TOO_LARGE: "larger than updates.package_max_bytes",
    Refusal.WRONG_LENGTH: "shorter or longer than it says",
    Refusal.DAMAGED: "the check over header, signatures and manifest fails: damaged on the way",
    Refusal.NOT_CANONICAL: "not the one byte string that its content has",
    Refusal.TOO_FEW_SIGNATURES: "fewer keys of the root of trust have signed than it asks for",
    Refusal.WRONG_SIGNATURE: "a signature of a known key does not belong to this content",
    Refusal.NO_ROOT: "there is no root of trust on board",
    Refusal.ROOT_NOT_NEXT: "the root file's version is not the present one plus 1",
    Refusal.MALFORMED: "signed, but the manifest is not of its format",
    Refusal.OLD_INDEX: "its rollback index is below the one that the payload has reached",
    Refusal.WRONG_PAYLOAD: "made for other versions of this payload",
    Refusal.WRONG_RUNTIME: "made for other versions of the runtime",
    Refusal.WRONG_HARDWARE: "no artifact for a device of this board",
    Refusal.DOES_NOT_FIT: "another task, sensor profile, tiling, or more memory than the plan has",
    Refusal.WRONG_HASH: "a file is not the one that was signed",
    Refusal.BASE_MISSING: "the delta builds on a file that is not on board",
    Refusal.WRONG_DELTA: "the delta does not give the package that it promises",
    Refusal.NO_ROOM: "the disk has no room",
    Refusal.TRIAL_RUNS: "another model is on trial; install again when that is over",
    Refusal.READ_BACK: "what was read back from the disk is not what was written",
    Refusal.WRONG_ANSWER: "the device's answers to the known tiles are not the expected ones",
    Refusal.TOO_SLOW: "the known tiles took longer than updates.known_answer_timeout_s",
    Refusal.TOO_BIG: "the known tiles took more memory than the manifest says or the board allows",
    Refusal.DEVICE_LOST: "the device died or could not load the network",
    Refusal.CHUNK_DAMAGED: "a chunk's CRC-32 or layout is wrong; send it again",
    Refusal.CHUNK_FOREIGN: "a chunk contradicts those of its transfer that are here",
    Refusal.CHUNKS_MISSING: "the transfer is not complete yet",
    Refusal.INTERRUPTED: "the installation was cut off and is undone; it may be commanded again",
    Refusal.FAR_FROM_FACTORY: "its surface reflectance of the known tiles is not what any training gives",
    Refusal.NO_TRIAL: "no model of this task is on trial, so none can be given up",
}


def refuse(refusal: Refusal, what: str) -> InstallError:
    """The error to raise: ``what`` says in one line what was found and where."""
    return InstallError(
        f"{what} (refusal {refusal.value}, {refusal.name.lower()})", refusal.value, refusal.name.lower()
    )
