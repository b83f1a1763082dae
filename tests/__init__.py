"""The tests; a package, so that none of the same name among the installed ones stands in its way."""
