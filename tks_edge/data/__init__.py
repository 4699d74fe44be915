"""Data sets with fixed, recorded splits, and how batches are drawn from them."""
