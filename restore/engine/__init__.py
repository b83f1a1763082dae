"""The engine: the loop that trains, and what it leans on (updates, schedules, checkpoints, validation, logs)."""
