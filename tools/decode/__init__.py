"""Ground side: products as they came down, back to GeoTIFF, PNG and CSV."""
