"""Films: read, restored frame by frame and written again, with all that goes along with the pictures."""
