"""The commands as a user meets them: real processes, exit codes, one line an error."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from payload.drivers.product_store import SqliteProductStore
from payload.errors import NO_SPACE
from payload.types import ProductKind
from tests.test_contact import add_tile

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
CONFIG = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"
OPTIONS = ("--config", CONFIG)


def payload(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "payload", *map(str, arguments)]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **options
    )


def events(out: Path) -> list[str]:
    lines = (out / "telemetry.jsonl").read_text().splitlines()
    return [record["event"] for record in map(json.loads, lines) if record["record"] == "event"]


def refused(done: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> None:
    """The command failed as documented: its exit code, and one line that has ``words``."""
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def short_strip(folder: Path, rows: int) -> Path:
    """The header of the example's first ``rows`` rows, beside their stream."""
    text = STRIP.read_text()
    (folder / "strip.yaml").write_text(text.replace("rows: 480", f"rows: {rows}"))
    assert rows == 480 or (folder / "strip.yaml").read_text() != text
    content = (STRIP.parent / "strip.raw").read_bytes()
    frame_bytes = len(content) // 80
    (folder / "strip.raw").write_bytes(content[: frame_bytes * -(-rows // 6)])
    return folder / "strip.yaml"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ran")
    done = payload("run", STRIP, *OPTIONS, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "silence where there is no terminal"
    return out


def test_a_run_leaves_report_queue_log_and_picture(ran: Path) -> None:
    report = json.loads((ran / "run.json").read_text())
    assert report["tiles_done"] == report["tiles"] == 2
    assert report["peak_bytes"] <= report["planned_bytes"] <= report["budget_bytes"]
    assert report["wall_s"] > 0
    assert report["cpu_s"] > 0
    assert set(report["engines"]) == {"scene", "surface"}
    ratios = [value for name, value in report["scene"].items() if name.endswith("_ratio")]
    assert sum(ratios) == pytest.approx(1)
    made = report["products"]
    assert made["classes"]["products"] == 2
    assert sum(kind["bytes"] for kind in made.values()) == report["queue"]["bytes"]
    assert report["events"]["strip_finished"] == 1
    assert (ran / "quicklook.png").read_bytes().startswith(b"\x89PNG")
    assert events(ran)[:2] == ["engine_promoted", "strip_started"]
    assert events(ran)[-1] == "strip_finished"


def test_the_same_run_again_does_nothing_twice(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(ran, out)
    before = json.loads(payload("queue", out, "--json", "--limit", 0).stdout)
    done = payload("run", STRIP, *OPTIONS, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] == {
        "engine_promoted": 1,
        "strip_resumed": 1,
        "strip_finished": 1,
    }
    assert json.loads(payload("queue", out, "--json", "--limit", 0).stdout) == before


def test_beside_a_service_a_finished_strip_leaves_its_picture_and_no_thumbnails(tmp_path: Path) -> None:
    def run() -> bytes:
        read, write = os.pipe()
        command = ["run", STRIP, "--config", CONFIG, "--out", tmp_path, "--telemetry-to", write]
        done = payload(*command, pass_fds=(write,))
        os.close(write)
        os.close(read)
        assert done.returncode == 0, done.stderr
        with sqlite3.connect(tmp_path / "queue.sqlite") as queue:
            found = queue.execute("SELECT count(*), sum(length(thumbnail)) FROM tile").fetchone()
        queue.close()
        assert found == (2, 0)
        return (tmp_path / "quicklook.png").read_bytes()

    first = run()
    report = json.loads((tmp_path / "run.json").read_text())
    assert run() == first
    again = json.loads((tmp_path / "run.json").read_text())
    assert (again["tiles_done"], again["products"]) == (report["tiles_done"], report["products"])
    (tmp_path / "quicklook.png").unlink()
    done = payload("run", STRIP, "--config", CONFIG, "--out", tmp_path)
    assert "quicklook.png" not in done.stdout
    assert not (tmp_path / "quicklook.png").exists()  # better none than an empty one


@pytest.mark.parametrize("rows", [301, 480])
def test_a_finished_strip_of_any_length_run_again_is_finished(tmp_path: Path, rows: int) -> None:
    header = short_strip(tmp_path, rows)
    for _ in range(2):
        done = payload("run", header, *OPTIONS, "--out", tmp_path / "out", "--json")
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"]["strip_resumed"] == 1


def test_a_plan_takes_nothing_from_the_stream(tmp_path: Path) -> None:
    """Of a FIFO without a writer; and once it is finished, neither does a run."""
    header = short_strip(tmp_path, 301)
    content = (tmp_path / "strip.raw").read_bytes()
    (tmp_path / "strip.raw").unlink()
    os.mkfifo(tmp_path / "strip.raw")
    planned = payload("plan", header, *OPTIONS, timeout=60)
    assert planned.returncode == 0, planned.stderr
    command = [sys.executable, "-m", "payload", "run", header, *OPTIONS, "--out", tmp_path / "out"]
    with subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stdout=subprocess.PIPE) as run:
        (tmp_path / "strip.raw").write_bytes(content)
    assert run.returncode == 0
    again = payload(*command[3:], timeout=60)
    assert again.returncode == 0, again.stderr


def test_a_stream_that_ends_early_is_told_once(tmp_path: Path) -> None:
    header = short_strip(tmp_path, 480)
    stream = tmp_path / "strip.raw"
    stream.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    done = payload("run", header, *OPTIONS, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "rows are damaged or missing" in done.stdout
    assert events(tmp_path / "out").count("rows_short") == 1


def test_the_plan_names_every_term_before_anything_runs(tmp_path: Path) -> None:
    done = payload("plan", STRIP, *OPTIONS)
    assert done.returncode == 0, done.stderr
    for term in ("interpreter", "rows", "block in transit", "tile slots", "engines", "products", "queue"):
        assert f"\n{term} " in done.stdout
    facts = json.loads(payload("plan", STRIP, *OPTIONS, "--json").stdout)
    assert facts["total_bytes"] == sum(term["planned_bytes"] for term in facts["terms"])
    assert not list(tmp_path.iterdir())


def test_contacts_empty_the_queue_in_its_order_and_go_on_where_they_stopped(
    ran: Path, tmp_path: Path
) -> None:
    out, ground = tmp_path / "run", tmp_path / "ground"
    shutil.copytree(ran, out)
    order = [entry["product_id"] for entry in json.loads(payload("queue", out, "--json").stdout)]
    pass_ = ("contact", "--out", out, "--rate-bit-s", "8e5", "--to", ground, "--json")
    first = json.loads(payload(*pass_, "--duration-s", "1").stdout)
    assert 0 < len(first["sent"]) < len(order)
    assert first["sent_bytes"] <= 100_000
    second = json.loads(payload(*pass_, "--duration-s", "1000").stdout)
    assert second["waiting_entries"] == 0
    assert sorted(first["sent"] + second["sent"]) == sorted(order)
    assert second["sent"] == [product for product in order if product in second["sent"]]
    assert sorted(path.stem for path in ground.iterdir()) == sorted(order)
    assert events(out)[-2:] == ["contact_started", "contact_finished"]


def test_the_queue_gives_a_reason_for_every_entry(ran: Path) -> None:
    entries = json.loads(payload("queue", ran, "--json", "--limit", 0).stdout)
    assert all("weight" in entry["reason"] or "always" in entry["reason"] for entry in entries)
    assert f"{len(entries)} products wait" in payload("queue", ran).stdout


def test_a_run_takes_the_room_of_what_has_expired_however_dear_it_was(ran: Path, tmp_path: Path) -> None:
    fresh = json.loads(payload("queue", ran, "--json").stdout)
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    rows = [(f"OLD.{n}.classes", ProductKind.CLASSES, 100, 1e6, 0) for n in range(len(fresh))]
    add_tile(store, rows)
    store.close()
    text = CONFIG.read_text().replace("capacity_entries: 4096", f"capacity_entries: {len(fresh)}")
    config = tmp_path / "board.yaml"
    config.write_text(
        text.replace("../models", str(REPOSITORY / "models")).replace("../build", str(tmp_path))
    )
    done = payload("run", STRIP, "--config", config, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(payload("queue", tmp_path, "--json").stdout)
    assert [e["product_id"] for e in found] == [e["product_id"] for e in fresh]


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "payload", "run", STRIP, *OPTIONS, "--out", tmp_path]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=slave) as child:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the other end has gone
                break
    os.close(master)
    assert child.returncode == 0
    text = shown.decode()
    for word in ("tiles 2/2", "/s", "memory", "MiB", "queue"):
        assert word in text


def test_help_reads_like_a_manual_page() -> None:
    text = payload("--help").stdout
    for word in ("exit codes", "a strip is one of", "plan", "run", "contact", "queue"):
        assert word in text
    for command in ("plan", "run", "contact", "queue"):
        assert "--json" in payload(command, "--help").stdout


def test_what_is_no_strip_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for path in (tmp_path / "absent", REPOSITORY / "README.md", REPOSITORY / "docs"):
        refused(payload("run", path, *OPTIONS, "--out", out), 4, str(path), "not a strip")
    assert events(out) == ["strip_refused"] * 3
    assert not (out / "queue.sqlite").exists()


def test_a_configuration_that_cannot_be_used_names_file_line_and_key(tmp_path: Path) -> None:
    config = tmp_path / "board.yaml"
    config.write_text(CONFIG.read_text().replace("threads: 1", "threads: many"))
    done = payload("run", STRIP, "--config", config, "--out", tmp_path / "out")
    refused(done, 2, "board.yaml:", "engine.threads")
    assert events(tmp_path / "out") == ["config_refused"]


def test_a_model_that_does_not_match_the_configuration_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "board.yaml"
    models = REPOSITORY / "models"
    text = CONFIG.read_text().replace("../models/scene_s2_v7", str(models / "surface_s2_v5"))
    config.write_text(text.replace("../models", str(models)).replace("../build", str(tmp_path)))
    done = payload("run", STRIP, "--config", config, "--out", tmp_path / "out")
    refused(done, 2, "it has surface, needed is scene")


@pytest.mark.parametrize("name", ["scene_s2_v7", "surface_s2_v5"])
@pytest.mark.parametrize(
    ("file", "complaint"),
    [("openvino_int8.bin", "its SHA-256 is not"), ("manifest.json", "manifest: not JSON")],
)
def test_a_model_that_is_damaged_is_never_loaded_and_named(
    tmp_path: Path, name: str, file: str, complaint: str
) -> None:
    model = tmp_path / "copied"
    shutil.copytree(REPOSITORY / "models" / name, model)
    content = bytearray((model / file).read_bytes())
    content[0 if file == "manifest.json" else 1000] ^= 4
    (model / file).write_bytes(content)
    config = tmp_path / "board.yaml"
    text = CONFIG.read_text().replace(f"../models/{name}", str(model))
    config.write_text(
        text.replace("../models", str(REPOSITORY / "models")).replace("../build", str(tmp_path))
    )
    done = payload("run", STRIP, "--config", config, "--out", tmp_path / "out")
    refused(done, 6, f"{model}: ", file.replace(".json", ""), complaint)
    assert events(tmp_path / "out")[-1] == "model_refused"


def test_a_queue_of_another_version_is_refused_and_left_as_it_is(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(ran, out)
    with sqlite3.connect(out / "queue.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = (out / "queue.sqlite").read_bytes()
    refused(payload("run", STRIP, *OPTIONS, "--out", out), 5, "queue.sqlite", "version 99")
    assert (out / "queue.sqlite").read_bytes() == before


def test_a_strip_begun_with_other_products_does_not_go_on_in_the_same_queue(
    ran: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(ran, out)
    config = tmp_path / "board.yaml"
    text = CONFIG.read_text().replace("surface_error_dn: 10", "surface_error_dn: 20")
    config.write_text(
        text.replace("../models", str(REPOSITORY / "models")).replace("../build", str(tmp_path))
    )
    refused(payload("run", STRIP, "--config", config, "--out", out), 4, "another configuration")
    assert len(json.loads(payload("queue", out, "--json", "--limit", 0).stdout)) > 0


def test_a_queue_of_more_products_than_a_smaller_configuration_allows_is_trimmed_to_the_best(
    ran: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(ran, out)
    before = json.loads(payload("queue", out, "--json").stdout)
    config = tmp_path / "board.yaml"
    text = CONFIG.read_text().replace("capacity_entries: 4096", "capacity_entries: 3")
    config.write_text(
        text.replace("../models", str(REPOSITORY / "models")).replace("../build", str(tmp_path))
    )
    done = payload("run", STRIP, "--config", config, "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(payload("queue", out, "--json").stdout) == before[:3]
    lines = map(json.loads, (out / "telemetry.jsonl").read_text().splitlines())
    (told,) = (line for line in lines if line.get("event") == "queue_trimmed")
    assert told["parameters"]["entries"] == len(before) - 3 > 0
    assert told["parameters"]["size_bytes"] == sum(entry["size_bytes"] for entry in before[3:])


def test_a_queue_whose_schema_is_damaged_is_said_to_be(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(ran, out)
    content = bytearray((out / "queue.sqlite").read_bytes())
    place = content.find(b"CREATE TABLE")
    content[place : place + 3] = b"\xff\xfe\xfd"
    (out / "queue.sqlite").write_bytes(content)
    refused(payload("queue", out), 5, "queue.sqlite")


def test_a_misspelt_folder_gets_no_log_of_a_pass(tmp_path: Path) -> None:
    pass_ = ("--rate-bit-s", 1e6, "--duration-s", 1, "--to", tmp_path / "ground")
    refused(payload("contact", "--out", tmp_path / "typo", *pass_), 5, "there is no queue")
    assert not (tmp_path / "typo").exists()


def test_a_full_disk_ends_the_run_and_what_was_queued_stays(tmp_path: Path) -> None:
    """The child may write no file longer than 300 kB: the store is refused in the middle."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = payload("run", STRIP, *OPTIONS, "--out", tmp_path, preexec_fn=limit)
    refused(done, 5, "queue.sqlite")
    again = payload("run", STRIP, *OPTIONS, "--out", tmp_path)
    assert again.returncode == 0, again.stderr
    fresh = payload("run", STRIP, *OPTIONS, "--out", tmp_path / "fresh")
    assert fresh.returncode == 0
    listings = [
        payload("queue", out, "--json", "--limit", 0).stdout for out in (tmp_path, tmp_path / "fresh")
    ]
    names = [[entry["product_id"] for entry in json.loads(listing)] for listing in listings]
    assert names[0] == names[1]


def test_a_contact_without_a_queue_says_how_to_make_one(tmp_path: Path) -> None:
    done = payload(
        "contact", "--out", tmp_path, "--rate-bit-s", 1, "--duration-s", 1, "--to", tmp_path / "ground"
    )
    refused(done, 5, "there is no queue", "payload run")


def test_rows_that_fall_short_and_frames_that_are_damaged_are_reported_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    shutil.copytree(STRIP.parent, tmp_path / "strip")
    stream = tmp_path / "strip" / "strip.raw"
    content = bytearray(stream.read_bytes())
    content[100_000] ^= 255
    stream.write_bytes(content[: len(content) // 2])
    done = payload("run", tmp_path / "strip" / "strip.yaml", *OPTIONS, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"]["rows_damaged"] >= 2
    assert report["tiles_done"] == report["tiles"]
    assert 0.45 < report["scene"]["no_data_px"] / (480 * 720) < 0.65


@pytest.mark.parametrize("command", ["plan", "models"])
def test_an_answer_that_cannot_be_written_is_an_error_of_the_disk(command: str) -> None:
    strip = (STRIP,) if command == "plan" else ()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "payload", command, *map(str, (*strip, *OPTIONS))],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    refused(done, NO_SPACE, "standard output", "No space left")
