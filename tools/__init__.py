"""Ground tools: they may import the payload, the payload never imports them."""
