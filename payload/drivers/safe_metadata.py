"""What the metadata of a Level-1C SAFE product says: MTD_MSIL1C.xml and MTD_TL.xml.

Element names are those of the Sentinel-2 Products Specification Document (issue 14), which
kept them from the first products on; only file names changed.

Rules:
    a document type declaration, and so every entity, is refused; so is a file above 16 MiB
    before processing baseline 04.00 there is no RADIO_ADD_OFFSET and it is 0; from then on
    all 13 bands must have one
    view angles are means over the bands, directions averaged as vectors
    no data is 0, or the product is refused
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from payload.drivers.strip_header import UTC_MAX_NS
from payload.errors import StripError
from payload.instants import utc_ns_of
from payload.types import Band, Georeference

FILE_MAX_BYTES = 16 << 20
FIRST_BASELINE_WITH_OFFSET = (4, 0)
BAND_OF_ID = dict(enumerate(Band))
"""band_id 0 to 12 of the metadata: B01 .. B08, B8A, B09 .. B12."""

_OFFSET_MAX_DN = 32767


@dataclass(frozen=True, slots=True)
class ProductMetadata:
    """Of MTD_MSIL1C.xml.

    ``image_names``: file names of the images without folder and ending, in no certain order.
    """

    product: str
    start_utc_ns: int
    quantification_dn: int
    offset_dn: dict[Band, int]
    image_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TileMetadata:
    """Of MTD_TL.xml; sizes and place of the 10 m grid, angles None where not given."""

    tile_id: str
    rows: int
    columns: int
    georeference: Georeference
    ground_sample_m: float
    sun_zenith_deg: float | None
    sun_azimuth_deg: float | None
    view_zenith_deg: float | None
    view_azimuth_deg: float | None


def read_product_metadata(path: Path) -> ProductMetadata:
    """The product metadata in ``path``.

    Raises:
        StripError: damaged, incomplete, or not of Level-1C.
    """
    root = _Xml(path)
    level = root.text("PROCESSING_LEVEL")
    if "1C" not in level.upper():
        raise StripError(f"{path}: PROCESSING_LEVEL is '{level}'; a Level-1C product is wanted")
    for special in root.elements("Special_Values"):
        value = special.findtext("{*}SPECIAL_VALUE_INDEX", "").strip()
        if special.findtext("{*}SPECIAL_VALUE_TEXT", "").strip() == "NODATA" and value != "0":
            raise StripError(f"{path}: NODATA is '{value}'; only 0 is understood")
    return ProductMetadata(
        product=root.text("PRODUCT_URI").removesuffix(".SAFE"),
        start_utc_ns=root.instant("PRODUCT_START_TIME"),
        quantification_dn=root.whole("QUANTIFICATION_VALUE", 1, 65535),
        offset_dn=_offsets(root),
        image_names=tuple(_image_names(root)),
    )


def read_tile_metadata(path: Path) -> TileMetadata:
    """The metadata of the granule in ``path``.

    Raises:
        StripError: damaged or incomplete.
    """
    root = _Xml(path)
    code = root.text("HORIZONTAL_CS_CODE").upper().removeprefix("EPSG:")
    size = root.one("Size[@resolution='10']")
    place = root.one("Geoposition[@resolution='10']")
    sun = [
        (root.angle_in(sun, "ZENITH_ANGLE", 90), root.angle_in(sun, "AZIMUTH_ANGLE", 360))
        for sun in root.elements("Mean_Sun_Angle")
    ]
    views = [
        (root.angle_in(view, "ZENITH_ANGLE", 90), root.angle_in(view, "AZIMUTH_ANGLE", 360))
        for view in root.elements("Mean_Viewing_Incidence_Angle")
    ]
    sun_zenith_deg, sun_azimuth_deg = _mean_direction(sun)
    view_zenith_deg, view_azimuth_deg = _mean_direction(views)
    return TileMetadata(
        tile_id=root.text("TILE_ID"),
        rows=root.whole("NROWS", 1, 1_000_000, size),
        columns=root.whole("NCOLS", 1, 1_000_000, size),
        georeference=Georeference(
            _whole(path, "HORIZONTAL_CS_CODE", code, 1024, 32767),
            root.decimal("ULX", -1e8, 1e8, place),
            root.decimal("ULY", -1e8, 1e8, place),
        ),
        ground_sample_m=root.decimal("XDIM", 0.1, 10000.0, place),
        sun_zenith_deg=sun_zenith_deg,
        sun_azimuth_deg=sun_azimuth_deg,
        view_zenith_deg=view_zenith_deg,
        view_azimuth_deg=view_azimuth_deg,
    )


def _offsets(root: _Xml) -> dict[Band, int]:
    """RADIO_ADD_OFFSET of each band."""
    offsets: dict[Band, int] = {}
    for element in root.elements("RADIO_ADD_OFFSET"):
        name = f"RADIO_ADD_OFFSET of band_id {element.get('band_id')}"
        band_id = _whole(root.path, name, element.get("band_id") or "", 0, len(Band) - 1)
        offsets[BAND_OF_ID[band_id]] = _whole(
            root.path, name, element.text or "", -_OFFSET_MAX_DN, _OFFSET_MAX_DN
        )
    baseline = root.text("PROCESSING_BASELINE")
    try:
        major, minor = (int(part) for part in baseline.split("."))
    except ValueError as error:
        raise StripError(f"{root.path}: PROCESSING_BASELINE '{baseline}' is not like 05.10") from error
    if not offsets and (major, minor) < FIRST_BASELINE_WITH_OFFSET:
        return dict.fromkeys(Band, 0)
    missing = [band.value for band in Band if band not in offsets]
    if missing:
        raise StripError(
            f"{root.path}: no RADIO_ADD_OFFSET for {' '.join(missing)} in a product of baseline {baseline}: "
            "its metadata is damaged, fetch it again"
        )
    return offsets


def _image_names(root: _Xml) -> Iterator[str]:
    """IMAGE_FILE, a path from the product's folder; IMAGE_ID, a name, before 2016-12."""
    for tag in ("IMAGE_FILE", "IMAGE_ID"):
        for element in root.elements(tag):
            yield (element.text or "").strip().rpartition("/")[2].removesuffix(".jp2")


def _mean_direction(angles: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Zenith and azimuth of the mean of unit vectors, degrees; not-a-number left out."""
    seen = [pair for pair in angles if all(map(math.isfinite, pair))]
    if not seen:
        return None, None
    east = north = up = 0.0
    for zenith_deg, azimuth_deg in seen:
        zenith, azimuth = math.radians(zenith_deg), math.radians(azimuth_deg)
        east += math.sin(zenith) * math.sin(azimuth)
        north += math.sin(zenith) * math.cos(azimuth)
        up += math.cos(zenith)
    across = math.hypot(east, north)
    return math.degrees(math.atan2(across, up)), math.degrees(math.atan2(east, north)) % 360.0


class _Xml:
    """An XML file without namespaces, entities and the 5 km grids of angles."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                content = file.read(FILE_MAX_BYTES + 1)
        except OSError as error:
            raise StripError(f"{path}: cannot be read: {error.strerror}") from error
        if len(content) > FILE_MAX_BYTES:
            raise StripError(f"{path}: above {FILE_MAX_BYTES} bytes; this is no product metadata")
        # A byte 0 would be UTF-16, in which the declaration could hide.
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:
            raise StripError(f"{path}: declares a document type or entities; product metadata never does")
        try:
            for _, element in ElementTree.iterparse(io.BytesIO(content)):
                if element.tag.endswith("Values_List"):
                    element.clear()  # the grids of angles: nine tenths of the file
                self._root: ElementTree.Element = element
        except ElementTree.ParseError as error:
            raise StripError(f"{path}: not well-formed XML ({error}): fetch the product again") from error

    def elements(self, tag: str) -> Iterator[ElementTree.Element]:
        return iter(self._root.iterfind(f".//{{*}}{tag}"))

    def one(self, tag: str) -> ElementTree.Element:
        element = next(self.elements(tag), None)
        if element is None:
            raise StripError(f"{self.path}: lacks {tag}: its metadata is damaged, fetch the product again")
        return element

    def text(self, tag: str, within: ElementTree.Element | None = None) -> str:
        """The text of the first ``tag``, never empty."""
        found = self.one(tag).text if within is None else within.findtext(f"{{*}}{tag}")
        if found is None or not found.strip():
            raise StripError(f"{self.path}: {tag} is empty or missing: fetch the product again")
        return found.strip()

    def whole(self, tag: str, low: int, high: int, within: ElementTree.Element | None = None) -> int:
        return _whole(self.path, tag, self.text(tag, within), low, high)

    def decimal(self, tag: str, low: float, high: float, within: ElementTree.Element) -> float:
        text = self.text(tag, within)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise StripError(f"{self.path}: {tag} '{text}' must be a number, {low} to {high}")
        return value

    def angle_in(self, element: ElementTree.Element, tag: str, high_deg: float) -> float:
        """Degrees, or not-a-number where the product has none from 0 to ``high_deg``."""
        try:
            angle_deg = float(element.findtext(f"{{*}}{tag}", "nan"))
        except ValueError:
            return math.nan
        return angle_deg if 0 <= angle_deg <= high_deg else math.nan

    def instant(self, tag: str) -> int:
        """An instant of UTC, nanoseconds since the Unix epoch."""
        text = self.text(tag)
        try:
            instant_ns = utc_ns_of(text.removesuffix("Z") + "Z")
        except ValueError as error:
            raise StripError(f"{self.path}: {tag} '{text}' is not like 2024-01-20T10:53:41.024Z") from error
        if not 0 <= instant_ns <= UTC_MAX_NS:
            raise StripError(f"{self.path}: {tag} '{text}' is not between 1970 and 2116")
        return instant_ns


def _whole(path: Path, name: str, text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise StripError(f"{path}: {name} '{text}' must be a whole number, {low} to {high}")
    return value
