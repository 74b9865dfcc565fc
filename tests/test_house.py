"""The rules of the house that no single module can hold: rooms, sizes, names, ids, contents."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload import errors
from payload.arguments import build_parser
from payload.core.telemetry import CHANNELS, EVENTS, Telemetry
from payload.errors import BudgetError, CommandError, EngineOutputError, InstallError, PayloadError
from tools import interfaces

ROOT = Path(__file__).resolve().parents[1]
LINES_MAX = 400
STATEMENTS_MAX = 40
NEVER = {"manager", "helper", "helpers", "util", "utils", "handler", "processor"}
TEXT_SUFFIXES = {".py", ".md", ".yaml", ".toml", ".sh", ".txt", ".json", ""}


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name_of(path))


def repository_files(*options: str) -> list[Path]:
    """What git tracks, or what ``options`` of git ls-files choose."""
    listing = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git working tree")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def definitions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to something, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def is_enum(node: ast.AST) -> bool:
    """Whether the members' names say it all."""
    return isinstance(node, ast.ClassDef) and any(ast.unparse(kind).endswith("Enum") for kind in node.bases)


def last_word(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"([A-Z])", r"_\1", name).lower())
    return words[-1] if words else ""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )


def copy_of_repository(target: Path) -> Path:
    """The packages and what builds them, in a folder that may be written to."""
    for package in ("payload", "tools"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, target / name)
    return target


def test_imports_point_right() -> None:
    pytest.importorskip("importlinter")
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("payload/core/value.py", "import payload.drivers.board"),
        ("payload/drivers/board.py", "import payload.core.value"),
        ("payload/core/value.py", "import time"),
        ("payload/types.py", "def later():\n    import payload.config"),
        ("payload/imaging.py", "import tools.interfaces"),
        ("payload/imaging.py", "import payload.drivers.board"),
        ("payload/stray.py", "import payload.types"),
    ],
)
def test_an_import_that_points_left_breaks_the_build(tmp_path: Path, module: str, line: str) -> None:
    pytest.importorskip("importlinter")
    root = copy_of_repository(tmp_path)
    with (root / module).open("a") as file:
        file.write(f"\n{line}\n")
    found = lint_imports(root)
    assert found.returncode == 1, found.stdout + found.stderr
    assert " BROKEN" in found.stdout


def test_the_wheel_holds_the_payload_and_nothing_else(tmp_path: Path) -> None:
    root = copy_of_repository(tmp_path / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(root)],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if not re.match(r"payload/|skysift-[^/]+\.dist-info/", name)} == set()
    assert {name_of(path) for path in modules("payload")} <= names
    assert {Path(name).suffix for name in names if name.startswith("payload/")} == {".py"}


@pytest.mark.parametrize("path", modules("payload", "tools"), ids=name_of)
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", modules("payload", "tools"), ids=name_of)
def test_a_function_has_at_most_40_statements(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements = sum(isinstance(part, ast.stmt) for part in ast.walk(node)) - 1
            assert statements <= STATEMENTS_MAX, f"{node.name} in line {node.lineno} has {statements}"


@pytest.mark.parametrize("path", modules("payload", "tools", "tests"), ids=name_of)
def test_nothing_is_named_after_what_it_is_not(path: Path) -> None:
    named = [(path.stem, 0), *definitions(tree_of(path))]
    assert [(name, line) for name, line in named if last_word(name) in NEVER] == []


@pytest.mark.parametrize("path", modules("payload"), ids=name_of)
def test_what_a_module_of_the_payload_offers_says_what_it_is(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree) or path.name == "__init__.py", "the module itself"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not is_enum(node)
    ]
    assert silent == []


def catches_everything(node: ast.ExceptHandler) -> bool:
    """True unless it names what it catches, or only tidies up and raises it again."""
    last = node.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    caught = ast.walk(node.type) if node.type else []
    names = {part.id for part in caught if isinstance(part, ast.Name)}
    return node.type is None or bool(names & {"Exception", "BaseException"})


@pytest.mark.parametrize("path", modules("payload"), ids=name_of)
def test_only_the_entry_catches_everything(path: Path) -> None:
    clauses = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
    caught = [f"line {node.lineno}" for node in clauses if catches_everything(node)]
    assert caught == [] or name_of(path) == "payload/__main__.py"


@pytest.mark.parametrize("path", modules("payload"), ids=name_of)
def test_a_type_that_is_ignored_has_its_reason_and_is_in_a_driver(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "# type: ignore" in line:
            assert path.parent.name == "drivers", f"line {number}"
            assert re.search(r"# type: ignore\[[a-z-]+\]  # \w", line), f"line {number}"


def test_no_file_names_a_place_of_one_machine() -> None:
    place = re.compile(rb"(?<![\w.~])/(?:work|root|home|Users)/\w")
    found: list[str] = []
    ignored = set(repository_files("--cached", "--ignored", "--exclude-standard"))
    for path in set(repository_files("--cached", "--others", "--exclude-standard")) - ignored:
        if path.suffix in TEXT_SUFFIXES and path.is_file() and path != Path(__file__).resolve():
            found += [name_of(path)] if place.search(path.read_bytes()) else []
    assert found == []


def test_nothing_is_tracked_that_is_to_be_ignored() -> None:
    assert repository_files("--cached", "--ignored", "--exclude-standard") == []


def history() -> list[tuple[str, int, str]]:
    lines = (ROOT / "tests" / "event_history.txt").read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return [(table, int(number), name) for table, number, name in words]


def test_no_id_or_name_was_ever_used_twice() -> None:
    numbers = [(table, number) for table, number, _ in history()]
    names = [(table, name) for table, _, name in history()]
    assert len(set(numbers)) == len(set(names)) == len(history())


def test_every_event_and_channel_is_in_the_history_under_its_id() -> None:
    events = {("event", event.event_id, event.name) for event in EVENTS}
    channels = {("channel", channel.channel_id, channel.name) for channel in CHANNELS}
    assert (events | channels) - set(history()) == set()


def calls_of_telemetry() -> Iterator[tuple[str, ast.Call, str]]:
    """Every ``...telemetry.event(...)``, ``.set(...)`` and ``.add(...)`` of the payload."""
    for path in modules("payload"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner.endswith("telemetry") and node.func.attr in ("event", "set", "add"):
                    yield node.func.attr, node, f"{name_of(path)}:{node.lineno}"


def test_every_event_is_told_with_the_parameters_of_the_table() -> None:
    parameters = {event.name: set(event.parameters) for event in EVENTS}
    for kind, call, where in calls_of_telemetry():
        if kind == "event" and isinstance(call.args[0], ast.Constant):
            assert {keyword.arg for keyword in call.keywords} == parameters[call.args[0].value], where
        elif isinstance(call.args[0], ast.Constant):
            assert call.args[0].value in {channel.name for channel in CHANNELS}, where


def test_nothing_stands_in_the_tables_that_nobody_tells() -> None:
    told = {
        node.value
        for path in modules("payload")
        if not name_of(path).startswith("payload/core/telemetry/")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
    }
    names = [event.name for event in EVENTS] + [channel.name for channel in CHANNELS]
    assert [name for name in names if name not in told] == []


def every_error() -> list[type[PayloadError]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in kinds if issubclass(kind, PayloadError)]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_can_be_told_as_its_event(kind: type[PayloadError]) -> None:
    more: dict[type[PayloadError], tuple[object, ...]] = {
        BudgetError: ("rows",),
        CommandError: (4,),
        EngineOutputError: (3,),
        InstallError: (7, "wrong_signature"),
    }
    error = kind("went wrong", *more.get(kind, ()))
    telemetry = Telemetry()
    if error.event is not None:
        telemetry.event(error.event, **error.parameters())
        assert telemetry.counts == {error.event: 1}


def test_every_error_has_its_own_exit_code() -> None:
    codes = [*(kind.exit_code for kind in every_error()), errors.NO_SPACE, errors.NO_PROCESS]
    assert len(set(codes)) == len(codes)


def test_the_manual_page_and_the_interfaces_page_list_every_exit_code() -> None:
    codes = {0, errors.INTERRUPTED, errors.NO_SPACE, *(kind.exit_code for kind in every_error())}
    told = (build_parser().epilog or "").partition("exit codes\n")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"(?:^|\s)(\d+)  (?=\w)", told)} == codes
    table = interfaces.page().partition("## Exit codes\n")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) ", table, re.MULTILINE)} == codes


def test_the_interfaces_page_is_current() -> None:
    assert interfaces.PAGE.read_text() == interfaces.page(), "run: make interfaces"


def commands_of(page: str) -> list[list[str]]:
    """The shell words of every indented or fenced command line of a Markdown page."""
    lines = re.findall(r"^(?:    |\$ )?((?:make|payload|\.venv/bin/payload) .*)$", page, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", ["README.md"])
def test_the_commands_of_a_page_exist(page: str) -> None:
    commands = commands_of((ROOT / page).read_text())
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands:
        if words[0] == "make":
            assert words[1] in targets, words
        else:
            build_parser().parse_args(words[1:])
    assert len(commands) >= 6


def test_a_build_machine_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^exec make test\b", script, re.MULTILINE)
