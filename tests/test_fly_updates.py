"""New weights by command, in a real `payload fly`: accepted, refused with its code, given up."""

from __future__ import annotations

import json
from pathlib import Path

from payload.config import load_config
from payload.core.refusals import Refusal
from payload.core.signed import Root
from payload.flight.updating import REFUSED_CODE
from payload.types import Target
from tests.flying import Flight
from tools.package.keys import make_key, root_file
from tools.package.making import make_package

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"


def flight_with_keys(folder: Path) -> tuple[Flight, Path, Path]:
    """The service, a package that two of two have signed, and one that nobody has."""
    flight = Flight(folder)
    flight.stop()
    keys = [make_key(folder / f"{name}.key") for name in "ab"]
    (folder / "root.skr").write_bytes(root_file(Root(1, 2, tuple(bytes(k.verify_key) for k in keys)), keys))
    text = flight.config.read_text().replace("../build/slots", str(folder / "slots"))
    flight.config.write_text(text.replace("../build/root.skr", str(folder / "root.skr")))
    config = load_config(flight.config)
    model = config.folder(config.models.scene)
    for name, signers in (("signed.skm", keys), ("unsigned.skm", [])):
        (folder / name).write_bytes(make_package(model, 1, STRIP, signers, targets=[Target.CPU]))
    flight.start()
    return flight, folder / "signed.skm", folder / "unsigned.skm"


def test_a_model_is_installed_and_given_up_by_command(tmp_path: Path) -> None:
    flight, signed, unsigned = flight_with_keys(tmp_path / "flight")
    try:
        *_, last = flight.do("install_model", {"path": str(unsigned)})
        assert last.name == "command_not_completed"
        assert dict(last.values)["failure_code"] == REFUSED_CODE + Refusal.TOO_FEW_SIGNATURES
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert last.name == "command_completed"
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert dict(last.values)["failure_code"] == REFUSED_CODE + Refusal.TRIAL_RUNS
        *_, last = flight.do("revert_model", {"task": "scene"})
        assert last.name == "command_completed"
        *_, last = flight.do("revert_model", {"task": "scene"})
        assert last.name == "command_not_completed"
        told = {reading.name for reading in flight.seen}
        assert {"event_install_refused", "event_model_activated", "event_model_reverted"} <= told
    finally:
        flight.close()
    record = json.loads((tmp_path / "flight" / "slots" / "scene.record.0").read_text().partition("\n")[2])
    assert record["active"] == "factory" or (tmp_path / "flight" / "slots" / "scene.record.1").exists()
