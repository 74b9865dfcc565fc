"""The flight side: a board of its own in a folder, spoken to as flight software is, by its commands."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from payload.config import Config, load_config
from tools.uplink import Passed, send_pass

SILENCE_S = 8.0


class FlightBoard:
    """A configuration whose slots, keys and logs lie in ``folder``, with a short trial."""

    def __init__(self, folder: Path, base: Path, trial_tiles: int) -> None:
        self.folder, self.path = folder, folder / "board.yaml"
        document = yaml.safe_load(base.read_text())
        document["updates"] |= {
            "slots": str(folder.resolve() / "slots"),
            "root": str(folder.resolve() / "keys" / "root.skr"),
            "trial_tiles": trial_tiles,
        }
        document["tiles"] |= {"inner_rows_px": 240, "inner_columns_px": 240}  # the example has six of them
        for section, keys in {"models": ("scene", "surface"), "strip": ("scratch",)}.items():
            for key in keys:
                document[section][key] = str((base.parent / document[section][key]).resolve())
        self.path.write_text(yaml.safe_dump(document, sort_keys=False))

    @property
    def config(self) -> Config:
        """What the payload reads."""
        return load_config(self.path)

    @property
    def scene_folder(self) -> Path:
        """The factory's scene model."""
        return self.config.folder(self.config.models.scene)

    def install(self, package: Path) -> tuple[int, str]:
        """`payload install`: exit code, and what it says."""
        done = self._payload("install", package)
        return done.returncode, (done.stdout or done.stderr).strip()

    def run(self, strip: Path, name: str) -> dict[str, Any]:
        """`payload run` of a strip: its report.

        Raises:
            RuntimeError: it failed; its last line.
        """
        done = self._payload("run", strip, "--out", self.folder / "runs" / name, "--json")
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def models(self) -> str:
        """`payload models`: the table."""
        return self._payload("models").stdout

    def scene(self) -> dict[str, Any]:
        """What `payload models --json` says of the scene's slots."""
        found: dict[str, Any] = json.loads(self._payload("models", "--json").stdout)["tasks"]["scene"]
        return found

    def receive_pass(
        self, content: bytes, rate_bit_s: float, pass_s: float, seed: int
    ) -> tuple[Passed, list[Path]]:
        """One pass over the loopback link: `payload receive` listens in a process of its own."""
        port = _free_port()
        words = [sys.executable, "-m", "payload", "receive", "--udp", f"127.0.0.1:{port}"]
        words += ["--for-s", str(SILENCE_S), "--config", str(self.path), "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as flight:
            _wait_for(port)
            passed = send_pass(content, ("127.0.0.1", port), rate_bit_s, pass_s, 0.02, seed)
            told, _ = flight.communicate()
        return passed, [Path(path) for path in json.loads(told)["received"]]

    def _payload(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "payload", *map(str, words), "--config", str(self.path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def engines_of(report: Mapping[str, Any]) -> list[str]:
    """The scene networks that made a strip, as its report names them."""
    return [str(line) for line in report["engines"]["scene"]]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def _wait_for(port: int) -> None:
    """Returns once somebody listens on the port, as /proc/net/udp says, or after ten seconds."""
    wanted = f":{port:04X} "
    for _ in range(200):
        if wanted in Path("/proc/net/udp").read_text():
            return
        time.sleep(0.05)
