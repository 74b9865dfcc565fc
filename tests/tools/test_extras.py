"""What a command says that lacks its extra: asked where only the ground's own packages can be imported."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.ground_alone import ROOT, ask, packages_in
from tools.extras import EXIT_CODE, MODULES, extra_of

COMMANDS = sorted(
    f"tools.{path.parent.name if path.stem == '__main__' else path.stem}"
    for path in [*(ROOT / "tools").glob("*/__main__.py"), *(ROOT / "tools").glob("*.py")]
    if "argparse" in path.read_text()
)
STARTS_WITHOUT = {
    *("tools.bench", "tools.bench_engines", "tools.command", "tools.decode", "tools.downlink"),
    *("tools.ground", "tools.make_myriad_env", "tools.mosaic", "tools.package", "tools.parity"),
    *("tools.simulate", "tools.telemetry", "tools.uplink", "tools.write_raw"),
}
"""Whose --help comes without any extra."""


@pytest.fixture(scope="module")
def ground_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages_in(tmp_path_factory.mktemp("ground"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_its_extra_names_it_in_one_line(ground_alone: Path, command: str) -> None:
    done = ask(ground_alone, command, "--help")
    if command in STARTS_WITHOUT:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: ")
        return
    assert (done.returncode, done.stdout) == (EXIT_CODE, ""), done.stderr
    said = re.fullmatch(
        rf"{command}: no (\w+); needs the extras? '([\w,]+)': (\S+) -m pip install -e '\.\[\2\]'\n",
        done.stderr,
    )
    assert said, done.stderr
    assert any(said[1] in MODULES[extra] for extra in said[2].split(","))
    assert (ROOT / said[3]).resolve() == Path(sys.executable).resolve()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["tools.downlink", "--seeds", "1"], "downlink"),
        (["tools.bench", "--quick"], "bench"),
        (["tools.simulate", "tables"], "simulate"),
        (["tools.simulate", "safe", "--rows", "96", "--columns", "96", "--out", "NEW.SAFE"], "safe"),
        (["tools.telemetry", "PASS.tm", "--parquet", "TABLES"], "parquet"),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, list) else words,
)
def test_what_only_one_way_of_use_needs_is_named_when_it_is_used(
    ground_alone: Path, tmp_path: Path, words: list[str], extra: str
) -> None:
    (tmp_path / "PASS.tm").write_bytes(b"")
    done = ask(ground_alone, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (EXIT_CODE, "")
    assert done.stderr.endswith(f" -m pip install -e '.[{extra}]'\n")
    assert done.stderr.count("\n") == 1


def test_another_error_keeps_its_traceback(ground_alone: Path, tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text("import tools\nimport nowhere_at_all\n")
    done = ask(ground_alone, "asks", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("No module named 'nowhere_at_all'\n")


def test_every_extra_brings_what_it_is_named_for() -> None:
    dependencies = {"flatbuffers": "ai_edge_litert"}  # module that comes with another's package
    project = (ROOT / "pyproject.toml").read_text()
    listed = dict(re.findall(r"^(\w+) = (\[.*\])$", project, re.MULTILINE))
    declared = {
        extra: {canonicalize_name(Requirement(text).name) for text in ast.literal_eval(listed[extra])}
        for extra in MODULES
    }
    of_module = metadata.packages_distributions()
    for extra, modules in MODULES.items():
        for module in modules:
            names = set(map(canonicalize_name, of_module.get(dependencies.get(module, module), [])))
            assert not names or declared[extra] & names, f"{module} does not come with {extra}"


def test_the_table_of_the_readme_is_what_the_commands_say() -> None:
    page = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z,]+)` \| (.*) \|$", page, re.MULTILINE)
    told = {extra: re.findall(r"`(tools\.\w+)", commands) for extra, commands in rows}
    assert set(MODULES) <= {one for extra in told for one in extra.split(",")}
    for extra, commands in told.items():
        modules = [module for one in extra.split(",") for module in MODULES[one]]
        for command in commands:
            assert extra in {extra_of(command, module) for module in modules}, command
