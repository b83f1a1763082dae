"""XMP packets (ISO 16684-1): the photo's own is kept, without what is no longer true, and a note is added to it.

The note is in the terms of the IPTC Photo Metadata Standard 2025.1: Digital Source Type "composite with trained
algorithmic media", AI System Used, AI System Version Used; and XMP's Creator Tool.
"""

from xml.dom import minidom
from xml.dom.minidom import Document, Element
from xml.parsers.expat import ExpatError

from restore.photos.note import SOURCE_TYPE, Note

MOST = 1 << 19  # bytes; reading that many takes a second or two

_XMLNS, _RDF = "http://www.w3.org/2000/xmlns/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_XMP, _IPTC = "http://ns.adobe.com/xap/1.0/", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

_STALE = {
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength")),
    *((_EXIF, name) for name in ("PixelXDimension", "PixelYDimension")),
    (_XMP, "Thumbnails"),
}
# They point to a gain map, a depth map or a video behind the picture, which a result does not have.
_STALE_NAMESPACES = {
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.google.com/photos/1.0/depthmap/",
}
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>'.encode()
_BEGIN, _END = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode(), b'\n<?xpacket end="w"?>'


def settled(packet: bytes | None, note: Note | None = None) -> bytes | None:
    """The packet of an upright picture of another size, with the note in it; None where there is nothing to say.

    Raises:
        ValueError: `packet` is broken, or larger than `MOST`.
    """
    if packet is None and note is None:
        return None
    try:
        document = _parsed(packet or _EMPTY)
        rdf = document.getElementsByTagNameNS(_RDF, "RDF")[0]
        stale = _STALE | set(_facts(note)) if note else _STALE
        for description in rdf.getElementsByTagNameNS(_RDF, "Description"):
            _strip(description, stale)
        if note:
            rdf.appendChild(_description(document, note))
        return _BEGIN + _root(document).toxml().encode() + _END
    except (ExpatError, IndexError, RecursionError) as error:
        raise ValueError(f"broken XMP: {error}") from error


def _parsed(packet: bytes) -> Document:
    text = packet.strip(b"\0 \r\n\t").decode()
    if len(packet) > MOST or "<!" in text.replace("<!--", "").replace("<![CDATA[", ""):
        raise ValueError("XMP of an unusual size, or with a document type")
    return minidom.parseString(text.encode())


def _root(document: Document) -> Element:
    root = document.documentElement
    assert root is not None  # what was parsed has one
    return root


def _strip(description: Element, stale: set[tuple[str, str]]) -> None:
    """Takes properties away, whether they are written as attributes or as elements."""

    def is_stale(name: tuple[str | None, str | None]) -> bool:
        return name in stale or name[0] in _STALE_NAMESPACES

    for name in [name for name in description.attributes.keysNS() if is_stale(name)]:
        description.removeAttributeNS(*name)
    for child in [each for each in description.childNodes if is_stale((each.namespaceURI, each.localName))]:
        description.removeChild(child)


def _facts(note: Note) -> dict[tuple[str, str], str]:
    return {
        (_IPTC, "DigitalSourceType"): SOURCE_TYPE,
        (_IPTC, "AISystemUsed"): f"Restore, model {note.model}",
        (_IPTC, "AISystemVersionUsed"): f"sha256:{note.sha256}",
        (_XMP, "CreatorTool"): note.sentence,
    }


def _description(document: Document, note: Note) -> Element:
    made = document.createElementNS(_RDF, "rdf:Description")
    for prefix, namespace in (("rdf", _RDF), ("xmp", _XMP), ("Iptc4xmpExt", _IPTC)):
        made.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
    made.setAttributeNS(_RDF, "rdf:about", "")
    for (namespace, name), value in _facts(note).items():
        made.setAttributeNS(namespace, f"{'xmp' if namespace == _XMP else 'Iptc4xmpExt'}:{name}", value)
    return made
