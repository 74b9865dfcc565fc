"""Make, sign, show, verify and compare model packages.

  keygen  keys for signers and the first root of trust
  root    the next root file: other keys, another threshold
  make    a package from a model folder, with known tiles and the answers expected to them
  sign    a signature onto a package; each signer on a machine of their own
  delta   the difference from what is on board, of a signed package
  show    what a package, delta or root file says, for a person
  verify  what the payload will check before it writes a byte; exit code and code as on board

A first time:
  python -m tools.package keygen keys alice bob carol --threshold 2
  python -m tools.package make models/scene_s2_v7 --rollback-index 1 --out build/scene.skm
  python -m tools.package sign build/scene.skm --key keys/alice.key --key keys/bob.key
  python -m tools.package verify build/scene.skm --root keys/root.skr
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from payload.core.signed import Root, read_root
from payload.errors import PayloadError
from payload.types import Target
from tools.package.deltas import describe_delta, make_delta, read_old
from tools.package.keys import make_key, read_private, read_public, root_file
from tools.package.making import add_signatures, make_package, unpack
from tools.package.showing import show
from tools.package.verifying import verify

EXAMPLE_STRIP = Path("strips/example/strip.yaml")


def _keygen(asked: argparse.Namespace) -> None:
    if not 1 <= asked.threshold <= len(asked.names):
        raise ValueError(f"--threshold {asked.threshold}: there are {len(asked.names)} keys")
    keys = [make_key(asked.folder / f"{name}.key") for name in asked.names]
    root = Root(1, asked.threshold, tuple(bytes(key.verify_key) for key in keys))
    path = asked.folder / "root.skr"
    path.write_bytes(root_file(root, keys))
    print(f"{path}: {asked.threshold} of {len(keys)} keys; every board needs a copy, at its updates.root")
    print("give each .key to its signer and keep no copy")


def _root(asked: argparse.Namespace) -> None:
    present, _ = read_root(asked.present.read_bytes())
    root = Root(present.version + 1, asked.threshold, tuple(map(read_public, asked.public)))
    asked.out.write_bytes(root_file(root, [read_private(path) for path in asked.key]))
    read_root(asked.out.read_bytes())
    print(f"{asked.out}: root version {root.version}, {root.threshold} of {len(root.keys)} keys")


def _make(asked: argparse.Namespace) -> None:
    keys = [read_private(path) for path in asked.key]
    targets = {Target(name) for name in asked.target} or None
    content = make_package(asked.folder, asked.rollback_index, asked.tiles, keys, targets=targets)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(content)
    print(f"{asked.out}: {len(content)} bytes, {len(keys)} signatures")


def _sign(asked: argparse.Namespace) -> None:
    signed = add_signatures(asked.package.read_bytes(), [read_private(path) for path in asked.key])
    asked.package.write_bytes(signed)
    print(f"{asked.package}: signed by {len(asked.key)} more")


def _delta(asked: argparse.Namespace) -> None:
    old, new = read_old(asked.old), asked.new.read_bytes()
    delta = make_delta(old, new)
    asked.out.write_bytes(delta)
    print(f"{asked.out}: {describe_delta(old, unpack(new), delta)}")


def _show(asked: argparse.Namespace) -> None:
    print(show(asked.file.read_bytes()))


def _verify(asked: argparse.Namespace) -> None:
    print(verify(asked.file, asked.root, asked.config, asked.rollback_index))


def _add_packages(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = commands.add_parser("make", help="a package from a model folder")
    make.add_argument("folder", type=Path, metavar="MODEL", help="e.g. models/scene_s2_v7")
    make.add_argument("--rollback-index", type=int, required=True, metavar="N")
    make.add_argument("--out", type=Path, required=True, metavar="FILE")
    make.add_argument("--tiles", type=Path, default=EXAMPLE_STRIP, metavar="STRIP", help="gives known tiles")
    make.add_argument("--key", type=Path, action="append", default=[], metavar="KEY", help="signs at once")
    make.add_argument(
        "--target",
        action="append",
        default=[],
        choices=[target.value for target in Target],
        help="pack the artifacts for this device alone; may be given again (all)",
    )
    make.set_defaults(do=_make)

    sign = commands.add_parser("sign", help="a signature onto a package")
    sign.add_argument("package", type=Path, metavar="PACKAGE")
    sign.add_argument("--key", type=Path, action="append", required=True, metavar="KEY")
    sign.set_defaults(do=_sign)

    delta = commands.add_parser("delta", help="what to send instead of a whole package")
    delta.add_argument("old", type=Path, metavar="OLD", help="what is on board: a package or a model folder")
    delta.add_argument("new", type=Path, metavar="NEW", help="the signed package")
    delta.add_argument("--out", type=Path, required=True, metavar="FILE")
    delta.set_defaults(do=_delta)

    shown = commands.add_parser("show", help="what a file says")
    shown.add_argument("file", type=Path, metavar="FILE")
    shown.set_defaults(do=_show)


def build_parser() -> argparse.ArgumentParser:
    """Every command of the tool."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.package",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    keygen = commands.add_parser("keygen", help="keys and the first root of trust")
    keygen.add_argument("folder", type=Path, metavar="DIR")
    keygen.add_argument("names", nargs="+", metavar="NAME", help="one for each signer")
    keygen.add_argument("--threshold", type=int, required=True, metavar="K", help="so many must sign")
    keygen.set_defaults(do=_keygen)

    root = commands.add_parser("root", help="the next root file")
    root.add_argument("present", type=Path, metavar="ROOT", help="the root file that is on board")
    root.add_argument("--public", type=Path, action="append", required=True, metavar="PUB", help="a new key")
    root.add_argument("--threshold", type=int, required=True, metavar="K")
    root.add_argument(
        "--key",
        type=Path,
        action="append",
        required=True,
        metavar="KEY",
        help="signs; enough of the present and enough of the new root are needed",
    )
    root.add_argument("--out", type=Path, required=True, metavar="FILE")
    root.set_defaults(do=_root)

    _add_packages(commands)

    verified = commands.add_parser("verify", help="what the payload will check")
    verified.add_argument("file", type=Path, metavar="PACKAGE")
    verified.add_argument("--root", type=Path, required=True, metavar="ROOT")
    verified.add_argument(
        "--config", type=Path, default=Path("firmware_configs/flatsat.yaml"), metavar="YAML", help="the board"
    )
    verified.add_argument(
        "--rollback-index", type=int, default=0, metavar="N", help="the index that the payload has reached"
    )
    verified.set_defaults(do=_verify)
    return parser


def main() -> int:
    """One command; 0 if it did what was asked."""
    asked = build_parser().parse_args()
    try:
        asked.do(asked)
    except PayloadError as error:
        sys.stderr.write(f"package: {error}\n")
        return error.exit_code
    except (OSError, ValueError) as error:
        sys.stderr.write(f"package: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
