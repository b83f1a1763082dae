"""Option files: what may stand in them (`schema`), and how they are read and checked (`load`)."""
