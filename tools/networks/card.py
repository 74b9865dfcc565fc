"""Writes the model card: what a network is, what it was trained on, what it can and cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from payload.types import Task


def write_card(task: Task, manifest: Mapping[str, Any], folder: Path) -> None:
    """Write card.md from the manifest; figures come from the training record, never by hand."""
    training = manifest["training"]
    title = {Task.SCENE: "Scene classification", Task.SURFACE: "Surface reflectance"}[task]
    lines = [f"# {title}: {manifest['name']}", ""]
    lines += [training["summary"], ""]
    (folder / "card.md").write_text("\n".join(lines))
