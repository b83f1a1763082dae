"""Restore: trains, measures and applies face restoration models. Importing it loads nothing heavy."""

__version__ = "0.1.0"
