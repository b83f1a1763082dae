"""The work behind the verbs of the `restore` command."""
