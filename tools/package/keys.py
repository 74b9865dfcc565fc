"""Signing keys as files: a private key is 64 hexadecimal digits that only its owner may read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nacl.signing import SigningKey

from payload.core.signed import (
    ROOT_MAGIC,
    Root,
    Signature,
    key_id_of,
    message_of,
    root_document,
    write_head,
)

PRIVATE_MODE = 0o600


def make_key(path: Path) -> SigningKey:
    """A new private key at ``path`` and its public key beside it, suffix .pub.

    Raises:
        FileExistsError: a key is never written over.
    """
    key = SigningKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(bytes(key).hex() + "\n")
    path.with_suffix(".pub").write_text(bytes(key.verify_key).hex() + "\n")
    return key


def read_private(path: Path) -> SigningKey:
    """The private key at ``path``.

    Raises:
        ValueError: it is none.
    """
    return SigningKey(_thirty_two_bytes(path))


def read_public(path: Path) -> bytes:
    """The public key at ``path``.

    Raises:
        ValueError: it is none.
    """
    return _thirty_two_bytes(path)


def sign(keys: Sequence[SigningKey], magic: bytes, document: bytes) -> list[Signature]:
    """One signature of each key."""
    message = message_of(magic, document)
    return [Signature(key_id_of(bytes(key.verify_key)), key.sign(message).signature) for key in keys]


def root_file(root: Root, keys: Sequence[SigningKey]) -> bytes:
    """The root file of ``root``, signed by ``keys``: for a rotation, keys of both roots."""
    document = root_document(root)
    return write_head(ROOT_MAGIC, sign(keys, ROOT_MAGIC, document), document, 0)


def _thirty_two_bytes(path: Path) -> bytes:
    found = bytes.fromhex(path.read_text().strip())
    if len(found) != 32:
        raise ValueError(f"{path}: {len(found)} bytes, a key has 32")
    return found
