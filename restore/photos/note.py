"""What a result's own file says about how it was made."""

from dataclasses import dataclass

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

DONE = {"sr": "enlarged or cleaned", "unmask": "a part was made up"}  # what a model of each kind did


@dataclass(frozen=True)
class Note:
    """Says that a network had a hand in a picture: the model's name, its file's SHA-256, and what was done."""

    model: str
    sha256: str
    text: str

    @property
    def sentence(self) -> str:
        """The whole of it, for a reader of text."""
        return f"AI-restored with {self.model} (sha256 {self.sha256}): {self.text}"
