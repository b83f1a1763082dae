"""Tasks: what one training step computes, each registered in TASKS (`*_task.py`)."""
