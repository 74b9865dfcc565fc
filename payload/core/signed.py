"""Signed files: the layout that packages and root files share, and who may sign them.

    0   8  magic of the kind
    8   2  format, big-endian like all that follows
   10   2  signatures, at most 16
   12   4  document_bytes
   16   8  total_bytes of the file
   24   4  CRC-32 of the 24 bytes before and of all up to the end of the document
   28      signatures: key id (32 bytes) and ed25519 signature (64), key ids ascending
           document: canonical JSON (`core.document`)
           the files of a package, back to back in the order of the document

Rules:
1. Nothing behind the fixed header is read before length and CRC are right: damage on the way is
   told from forgery.
2. A document counts when at least ``threshold`` different keys of the root have signed it.
   Signatures of unknown keys count nothing; one wrong signature of a known key refuses all.
3. What is signed is the kind's magic and the document, so that a signature over one kind of
   file never is one over another. Files count through their SHA-256 in the document.
4. The document is parsed only after that.
5. A root is followed by the root with the next version, signed by enough keys of both: of the
   old one, so that it is meant, and of the new one, so that its keys are at hand (The Update
   Framework, specification 1.0, section 6.1).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from payload.core.document import Place, canonical, list_of_at_most, read_document, text_like, whole
from payload.core.refusals import Refusal, refuse
from payload.errors import TrustError

PACKAGE_MAGIC = b"SKYPKG\r\n"
ROOT_MAGIC = b"SKYROOT\n"
FORMAT = 1
SIGNATURES_MAX = 16
DOCUMENT_MAX_BYTES = 256 << 10
HEADER = struct.Struct(">8sHHIQI")
HEADER_BYTES = HEADER.size
SIGNATURE_BYTES = 96
HEAD_MAX_BYTES = HEADER_BYTES + SIGNATURES_MAX * SIGNATURE_BYTES + DOCUMENT_MAX_BYTES

_KEY = re.compile(r"[0-9a-f]{64}")
_CHECKED_BYTES = HEADER_BYTES - 4


@dataclass(frozen=True, slots=True)
class Signature:
    """An ed25519 signature and the id (SHA-256) of the public key that it is of."""

    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What the first HEADER_BYTES say."""

    magic: bytes
    signatures: int
    document_bytes: int
    total_bytes: int
    crc: int

    @property
    def head_bytes(self) -> int:
        """Up to the end of the document."""
        return HEADER_BYTES + self.signatures * SIGNATURE_BYTES + self.document_bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """Header, signatures and document of a signed file; nobody has looked at the signatures yet."""

    magic: bytes
    signatures: tuple[Signature, ...]
    document: bytes
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Root:
    """Who is believed: ``threshold`` of ``keys`` (raw ed25519 public keys, 32 bytes each)."""

    version: int
    threshold: int
    keys: tuple[bytes, ...]


def key_id_of(key: bytes) -> bytes:
    """What signatures call the public key ``key``."""
    return hashlib.sha256(key).digest()


def message_of(magic: bytes, document: bytes) -> bytes:
    """The bytes that are signed (rule 3)."""
    return b"skysift " + magic + document


def claimed_bytes(content: bytes) -> int:
    """How long the file that begins with ``content`` says it is.

    Raises:
        InstallError: it is shorter than a header.
    """
    if len(content) < HEADER_BYTES:
        raise refuse(Refusal.WRONG_LENGTH, f"{len(content)} bytes, a header has {HEADER_BYTES}")
    claimed: int = HEADER.unpack_from(content)[4]
    return claimed


def read_header(content: bytes, magic: bytes, size_bytes: int) -> Header:
    """The header in the first bytes of a file of ``size_bytes``.

    Raises:
        InstallError: another kind or format of file, or of another length than it says.
    """
    if len(content) < HEADER_BYTES:
        raise refuse(Refusal.WRONG_LENGTH, f"{size_bytes} bytes, a header has {HEADER_BYTES}")
    found, form, signatures, document_bytes, total_bytes, crc = HEADER.unpack_from(content)
    if found != magic or form != FORMAT:
        raise refuse(Refusal.NOT_A_PACKAGE, f"it begins with {found!r}, format {form}")
    if signatures > SIGNATURES_MAX or document_bytes > DOCUMENT_MAX_BYTES:
        raise refuse(Refusal.DAMAGED, f"{signatures} signatures, a document of {document_bytes} bytes")
    header = Header(found, signatures, document_bytes, total_bytes, crc)
    if total_bytes != size_bytes or header.head_bytes > total_bytes:
        raise refuse(Refusal.WRONG_LENGTH, f"{size_bytes} bytes, the header says {total_bytes}")
    return header


def read_head(head: bytes, header: Header) -> Signed:
    """Signatures and document in the first ``header.head_bytes`` of a file.

    Raises:
        InstallError: damaged, or not in its one order.
    """
    if zlib.crc32(head[HEADER_BYTES : header.head_bytes], zlib.crc32(head[:_CHECKED_BYTES])) != header.crc:
        raise refuse(Refusal.DAMAGED, "the CRC-32 of header, signatures and document is wrong")
    signatures = []
    for start in range(HEADER_BYTES, header.head_bytes - header.document_bytes, SIGNATURE_BYTES):
        signatures.append(Signature(head[start : start + 32], head[start + 32 : start + SIGNATURE_BYTES]))
    key_ids = [signature.key_id for signature in signatures]
    if key_ids != sorted(set(key_ids)):
        raise refuse(Refusal.NOT_CANONICAL, "key ids must ascend")
    document = head[header.head_bytes - header.document_bytes : header.head_bytes]
    return Signed(header.magic, tuple(signatures), document, header.total_bytes)


def write_head(magic: bytes, signatures: Sequence[Signature], document: bytes, files_bytes: int) -> bytes:
    """The head of a signed file: the same bytes for the same content, whatever the order given."""
    ordered = sorted(signatures, key=lambda signature: signature.key_id)
    total_bytes = HEADER_BYTES + len(ordered) * SIGNATURE_BYTES + len(document) + files_bytes
    first = HEADER.pack(magic, FORMAT, len(ordered), len(document), total_bytes, 0)[:_CHECKED_BYTES]
    rest = b"".join(signature.key_id + signature.signature for signature in ordered) + document
    return first + struct.pack(">I", zlib.crc32(rest, zlib.crc32(first))) + rest


def check_signatures(signed: Signed, root: Root) -> None:
    """Returns if enough keys of ``root`` have signed (rule 2).

    Raises:
        InstallError: a signature is wrong, or there are too few.
    """
    # The one place on board that needs it: a run of the factory model never pays its 3 MB.
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    known = {key_id_of(key): key for key in root.keys}
    message = message_of(signed.magic, signed.document)
    valid = 0
    for signature in signed.signatures:
        key = known.get(signature.key_id)
        if key is None:
            continue
        try:
            crypto_sign_open(signature.signature + message, key)
        except BadSignatureError as error:
            raise refuse(
                Refusal.WRONG_SIGNATURE, f"the signature of key {signature.key_id.hex()[:12]} is wrong"
            ) from error
        valid += 1
    if valid < root.threshold:
        raise refuse(
            Refusal.TOO_FEW_SIGNATURES, f"{valid} keys of the root have signed, {root.threshold} must"
        )


def read_canonical(document: bytes, name: str) -> Place:
    """A signed document, to be read key by key.

    Raises:
        InstallError: not JSON, or not canonical.
    """
    try:
        found = read_document(document, name, DOCUMENT_MAX_BYTES)
        place = Place(found, name)
        is_canonical = canonical(found) == document
    except TrustError as error:
        raise refuse(Refusal.MALFORMED, str(error)) from error
    except (ValueError, RecursionError) as error:  # a number as 1e999, a text that is no Unicode
        raise refuse(Refusal.NOT_CANONICAL, f"{name}: has no canonical form") from error
    if not is_canonical:
        raise refuse(Refusal.NOT_CANONICAL, f"{name}: not in canonical form")
    return place


def root_document(root: Root) -> bytes:
    """The canonical document of a root."""
    keys = sorted(key.hex() for key in root.keys)
    return canonical({"format": FORMAT, "version": root.version, "threshold": root.threshold, "keys": keys})


def read_root(content: bytes) -> tuple[Root, Signed]:
    """The root in a root file, believed by nobody yet; see `check_next_root`.

    Raises:
        InstallError: it is none.
    """
    header = read_header(content, ROOT_MAGIC, len(content))
    signed = read_head(content, header)
    place = read_canonical(signed.document, "root")
    try:
        if place.take("format", whole(1, 1 << 31)) != FORMAT:
            place.refuse("format", f"must be {FORMAT}")
        names = place.take("keys", list_of_at_most(SIGNATURES_MAX))
        keys = tuple(bytes.fromhex(text_like(_KEY)(name)) for name in names)
        root = Root(place.take("version", whole(1, 1 << 31)), place.take("threshold", whole(1, 16)), keys)
        place.end()
    except (TrustError, ValueError) as error:
        raise refuse(Refusal.MALFORMED, f"root: {error}") from error
    if (
        root.threshold > len(set(keys))
        or len(set(keys)) != len(keys)
        or root_document(root) != signed.document
    ):
        raise refuse(
            Refusal.MALFORMED, "root: its keys must be different, ascending, and enough to be reached"
        )
    return root, signed


def check_next_root(present: Root, found: Root, signed: Signed) -> None:
    """Returns if ``found`` may take the place of ``present`` (rule 5).

    Raises:
        InstallError: it may not.
    """
    if found.version != present.version + 1:
        raise refuse(
            Refusal.ROOT_NOT_NEXT, f"root version {found.version} after {present.version}, not the next"
        )
    check_signatures(signed, present)
    check_signatures(signed, found)
