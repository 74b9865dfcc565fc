"""PV-CC: an atmospheric-correction network of Sentinel-2-like input, applied to the Proba-V profile."""
