"""Losses: `loss(step) -> scalar`, a mean of per-sample values, each registered in LOSSES (`*_loss.py`)."""
