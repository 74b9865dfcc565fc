"""A package, delta or root file for a person."""

from __future__ import annotations

from payload.core.delta import DELTA_MAGIC, ENTRY, HEADER, NAME_BYTES, Kind
from payload.core.package import PackageManifest
from payload.core.signed import ROOT_MAGIC, Signature, key_id_of, read_root
from payload.types import Grid
from tools.package.making import unpack


def show(content: bytes) -> str:
    """What the file says; trust is another question (`tools.package verify`).

    Raises:
        InstallError: neither a package, a delta nor a root file, or damaged.
    """
    if content.startswith(ROOT_MAGIC):
        return _root_lines(content)
    if content.startswith(DELTA_MAGIC):
        return _delta_lines(content)
    package = unpack(content)
    return "\n".join([*_package_lines(package.manifest), *_signature_lines(package.signatures)])


def _package_lines(manifest: PackageManifest) -> list[str]:
    model = manifest.model
    bands = "; ".join(" ".join(band.value for band in model.bands[grid]) for grid in Grid)
    cell = f", cells {model.cell_px} px" if model.cell_px else ""
    lines = [
        f"model           {model.name}, version {model.version}, task {model.task.value}",
        f"sha256          {model.sha256}",
        f"rollback index  {manifest.rollback_index}",
        f"payload         {manifest.payload.lowest} to below {manifest.payload.below}",
        f"sensor          {model.sensor_profile}: {bands}",
        f"normalisation   codes by {model.codes_law}, full scale {model.full_scale_reflectance}",
        f"tiles           halo {model.halo_px} px, phase {model.phase_px} px{cell}",
    ]
    for artifact in model.artifacts:
        runtime = manifest.runtimes[artifact.runtime]
        allowed = manifest.allowances[artifact.target]
        lines += [
            f"target          {artifact.target.value}: {artifact.runtime} {runtime.lowest} to below "
            f"{runtime.below}, {artifact.precision.value}",
            f"  memory        {artifact.host_fixed_bytes} bytes, and "
            f"{artifact.host_bytes_per_window_px} a pixel of a window",
            f"  may disagree  by {allowed.tolerance:g} anywhere, further in "
            f"{allowed.disagreement_ratio:.1%} of the samples",
        ]
    lines += [
        f"file            {file.path}: {file.size_bytes} bytes, {file.sha256}" for file in manifest.files
    ]
    return lines


def _delta_lines(content: bytes) -> str:
    """The table of a delta; the package that it makes is known only with its base."""
    _, form, files, head_bytes, packed_bytes, total_bytes, _ = HEADER.unpack_from(content)
    lines = [f"delta           format {form}, {total_bytes} bytes, {files} files, head of {head_bytes} bytes"]
    table = content[HEADER.size + NAME_BYTES + packed_bytes :][: files * ENTRY.size]
    for kind, base, size_bytes, *streams in ENTRY.iter_unpack(table):
        name = Kind(kind).name.lower()
        on = f" on {base.hex()[:12]}" if kind != Kind.WHOLE else ""
        lines.append(f"file            {name}{on}: {sum(streams)} bytes for {size_bytes}")
    return "\n".join(lines)


def _signature_lines(signatures: tuple[Signature, ...]) -> list[str]:
    if not signatures:
        return ["signed          by nobody yet"]
    return [f"signed          by key {signature.key_id.hex()[:16]}" for signature in signatures]


def _root_lines(content: bytes) -> str:
    root, signed = read_root(content)
    lines = [f"root            version {root.version}, {root.threshold} of {len(root.keys)} keys"]
    lines += [f"key             {key_id_of(key).hex()[:16]}: {key.hex()}" for key in root.keys]
    return "\n".join([*lines, *_signature_lines(signed.signatures)])
