"""What libraries say when memory runs out is known as that, and what merely sounds like it is not."""

import pytest

from restore.engine.device import is_out_of_memory

SAID = {
    "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ...": True,
    "OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 400 bytes in function 'OutOfMemoryError'": True,
    "could not create a memory object": True,
    "could not create a primitive": True,  # seen under a limit of memory
    "could not create a primitive descriptor for a convolution forward propagation primitive": False,  # of a type
    "[Errno 12] Cannot allocate memory": True,
    "can't start new thread": True,
    "mat1 and mat2 shapes cannot be multiplied": False,
}


@pytest.mark.parametrize("text", SAID)
def test_words_for_out_of_memory(text):
    assert is_out_of_memory(RuntimeError(text)) == SAID[text]


def test_its_classes():
    assert is_out_of_memory(MemoryError())
