"""`pytest hil_tests --bench FILE`: every test gets the roles that it asks for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hil_tests.bench import BenchError, FlightBoard, read_bench


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench", type=Path, default=None, help="bench file; see hil_tests/README.md")


@pytest.fixture(scope="session")
def roles(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    path = request.config.getoption("--bench")
    if path is None:
        pytest.skip("no bench: name one with --bench FILE (make hil BENCH=FILE)")
    try:
        return read_bench(path)
    except BenchError as error:
        pytest.fail(str(error))


def _role(roles: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in roles:
        pytest.skip(f"this bench has no {name}")
    return roles[name]


@pytest.fixture
def board(roles: dict[str, dict[str, Any]]) -> FlightBoard:
    found = FlightBoard(**_role(roles, "board"))
    done = found.run(f"{found.payload} --version")
    assert done.returncode == 0, f"the bench promises a board with {found.payload}: {done.stderr}"
    return found


@pytest.fixture
def full_strip(roles: dict[str, dict[str, Any]]) -> str:
    path: str = _role(roles, "full_strip")["path"]
    return path


@pytest.fixture
def vpu(roles: dict[str, dict[str, Any]]) -> str:
    device: str = _role(roles, "vpu")["device"]
    return device


@pytest.fixture
def vpu_power(roles: dict[str, dict[str, Any]]) -> dict[str, str]:
    return _role(roles, "vpu_power")


@pytest.fixture
def board_power(roles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return _role(roles, "board_power")
