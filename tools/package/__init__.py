"""Model packages: made, signed, shown, verified and compared on the ground."""
