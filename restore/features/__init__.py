"""Frozen networks whose layers losses and metrics compare pictures by; their weights come through `pretrained`."""
