"""Data: records in folders and LMDBs, data sets of samples (`*_dataset.py`), and batches drawn from keys."""
