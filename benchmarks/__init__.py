"""Every speed that is claimed, as a script that measures it."""
