"""The OpenVINO runtime without its model converter.

`import openvino` also imports the converter, which nothing on board uses, and with it half a
package index: 14 of its 28 MiB. The package itself goes on where the converter is not
installed; that is what it is told here.
"""

from __future__ import annotations

import sys

_CONVERTER = "openvino.tools.ovc"

if "openvino" in sys.modules:  # a ground tool was first, and has what it needs
    import openvino as ov
else:
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # how Python marks "not there"
    import openvino as ov

    del sys.modules[_CONVERTER]

__all__ = ["ov"]
