"""Does. Never decides, logs or emits telemetry: it returns or raises."""
