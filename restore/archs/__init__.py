"""Networks: one paper a file (`*_arch.py`), each registered in ARCHS. Pictures in and out are RGB in [0, 1]."""
