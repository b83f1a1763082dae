"""Augmentations: `transform(sample, draws) -> sample`, each registered in TRANSFORMS."""
