"""Occlusions: what hides a part of a face, each registered in OCCLUSIONS (`*_occlusion.py`)."""
