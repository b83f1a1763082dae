"""Diffusion: what a network that predicts noise is trained on, and how a picture is drawn with it."""
