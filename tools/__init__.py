"""Ground tools: they may import the payload, the payload never imports them."""

import sys

from tools import extras

sys.excepthook = extras.say
