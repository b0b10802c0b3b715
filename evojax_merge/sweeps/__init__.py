"""Sweeps: many runs in one folder, on one machine or on many, and going on with them."""
