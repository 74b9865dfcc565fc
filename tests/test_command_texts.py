"""What the commands say to a person, and to a program, when something is not as it should be."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.test_commands import CONFIG, OPTIONS, STRIP, events, payload, refused


def test_a_plan_that_does_not_fit_is_shown_before_it_is_refused() -> None:
    small = ("plan", STRIP, *OPTIONS, "--budget-bytes", 64 << 20)
    shown, asked = payload(*small), payload(*small, "--json")
    for done in (shown, asked):
        refused(done, 3, "the budget is 67108864", "the largest term is")
    fits = json.loads(payload("plan", STRIP, *OPTIONS, "--json").stdout)
    assert fits["fits"]
    facts = json.loads(asked.stdout)
    assert not facts["fits"]
    assert facts["total_bytes"] > facts["budget_bytes"] == 64 << 20
    assert [term["name"] for term in facts["terms"]] == [term["name"] for term in fits["terms"]]
    assert f"largest term is {facts['worst_term']} with" in asked.stderr
    for term in facts["terms"]:
        assert re.search(rf"^{term['name']} .* {term['planned_bytes']} ", shown.stdout, re.MULTILINE)


def test_a_pass_says_what_it_has_dropped(tmp_path: Path) -> None:
    assert payload("run", STRIP, *OPTIONS, "--out", tmp_path).returncode == 0
    with closing(sqlite3.connect(tmp_path / "queue.sqlite")) as queue, queue:
        (entry_id, product_id) = queue.execute("SELECT entry_id, product_id FROM product").fetchone()
        queue.execute(
            "UPDATE body SET body = CAST(substr(body, 1, 99) || x'00' || substr(body, 101) AS BLOB)"
            " WHERE entry_id = ?",
            (entry_id,),
        )
    pass_ = ("--rate-bit-s", 1e9, "--duration-s", 1, "--to", tmp_path / "ground")
    done = payload("contact", "--out", tmp_path, *pass_)
    assert done.returncode == 0, done.stderr
    assert f"1 damaged in the queue and dropped: {product_id}\n" in done.stdout
    assert events(tmp_path).count("product_damaged") == 1
    again = payload("contact", "--out", tmp_path, *pass_)
    assert "damaged" not in again.stdout


def test_the_dictionary_is_announced_to_a_program_too(tmp_path: Path) -> None:
    path = tmp_path / "skysift.xml"
    done = payload("dictionary", "--config", CONFIG, "--xtce", path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["path"] == str(path)
    assert found["size_bytes"] == path.stat().st_size
    assert ET.parse(path).getroot().tag.endswith("SpaceSystem")
