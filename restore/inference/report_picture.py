"""A report as a picture: before, what was made up, after; each face near by; and what is to be known of it."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from restore import images
from restore.fitting import Rgb, celled, joined, resized, size_within, text_line
from restore.images import Image
from restore.inference.report import REST, Person, Report
from restore.inference.side_by_side import TINT, tinted
from restore.occlusions.occlusion import Mask

WIDTH, MARGIN, GAP = 1440, 40, 20
TALLEST = 560  # of a picture in the report
INK, PALE, PAPER = (24, 24, 28), (110, 110, 118), (255, 255, 255)
AROUND = 0.35  # of a face's box, shown on each side of it
SMALL = 0.45  # of the photo's longer side: smaller faces are shown near by too
MOST_FACES, MOST_NOTES = 6, 8


def overlay(picture: Image, mask: Mask) -> Rgb:
    """The picture, in 8 bits, with the mask's pixels tinted and a line along its edge, inside: no other is touched."""
    result = tinted(picture, mask)
    thickness = max(1, round(max(mask.shape) / 200))
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=thickness) > 0
    result[mask & ~inner] = TINT
    return result


def draw(report: Report) -> Rgb:
    """The report (H, WIDTH, 3). Its length is that of what there is to tell."""
    pieces = [_title(report), *_pictures(report), *_near_by(report), _faces(report), _small_print(report)]
    return np.vstack([_strip(24), *pieces, _strip(24)])


# ------------------------------------------------------------------------------------------------------------- text


def _title(report: Report) -> Rgb:
    facts = report.facts
    share = facts["invented"]["share"]
    name = shortened(facts["results"][0]["file"], 40 if len(report.results) > 1 else 52)
    more = f" and {len(report.results) - 1} more" if len(report.results) > 1 else ""
    lines = [
        (f"What was made up in {name}{more}", 36, INK),
        (facts["invented"]["sentence"], 28, TINT if share else INK),
        (f"It is {_percent(share)} of the picture. {REST[facts['invented']['rest']]}", 22, INK),
    ]
    if len(facts["ranking"]) > 1:
        whose = f"face {facts['ranking_face']}'s likeness" if len(report.people) > 1 else "their likeness"
        lines.append(
            (f"Results are in the order of {whose} to the references, which stands beside their names.", 22, INK)
        )
    return _text(lines)


def _faces(report: Report) -> Rgb:
    lines = [("Faces", 28, INK)]
    several = len(report.people) > MOST_FACES
    for number, person in list(enumerate(report.people, 1))[:MOST_FACES]:
        lines.append((f"{number}:  {_of(person, report)}", 22, INK))
    if several:
        lines.append((f"and {len(report.people) - MOST_FACES} more, in the JSON beside this picture", 22, INK))
    gap = report.facts["identity"].get("gap")
    if gap:
        lines.append((f"identity: {gap}", 22, INK))
    return _text(lines)


def _of(person: Person, report: Report) -> str:
    """What there is to say of a face; of several results, the values are in the order of the pictures."""
    if not person.invented:
        return "nothing of it was made up"
    told = [f"{_percent(person.invented)} of its box made up"]
    if person.visible:
        told.append(f"similarity to what the input shows of it {_values(person.visible, report)}")
    if any(person.references):
        many = f"{len(person.references[0])} references" if len(person.references[0]) > 1 else "the reference"
        told.append(f"to {many} {_values(person.by_reference, report)}")
    return ", ".join(told)


def _values(values: Sequence[float], report: Report) -> str:
    return " / ".join(f"{values[place]:.2f}" for place in report.order)


def _small_print(report: Report) -> Rgb:
    facts, model = report.facts, report.facts["model"]
    notes = [(f"Note: {note}", 19, INK) for note in facts["notes"][:MOST_NOTES]]
    options = ", ".join(f"{name} {value}" for name, value in sorted(facts["options"].items()))
    lines = [
        *notes,
        (f"Model {model['name']} ({model['arch']}), SHA-256 {model['sha256'] or 'of no file'}", 17, PALE),
        (f"restore {facts['restore']}; {options}", 17, PALE),
    ]
    identity = facts["identity"]
    if "network" in identity:
        lines.append((f"Similarities by {identity['network']} (licence: {identity['licence']}).", 17, PALE))
        lines.append((identity["caveat"], 17, PALE))
    return _text(lines)


def _text(lines: Sequence[tuple[str, int, tuple[int, int, int]]]) -> Rgb:
    """Lines of text, each with its size and colour, wrapped to the width."""
    rows = []
    for text, size, colour in lines:
        font = ImageFont.load_default(size=size)
        for part in _wrapped(_shown(text), font):
            canvas = Pillow.new("RGB", (WIDTH, round(size * 1.45)), PAPER)
            ImageDraw.Draw(canvas).text((MARGIN, round(size * 0.15)), part, fill=colour, font=font)
            rows.append(np.asarray(canvas))
    return np.vstack([*rows, _strip(12)])


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        while font.getlength(word) > WIDTH - 2 * MARGIN:
            cut = next(n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= WIDTH - 2 * MARGIN)
            lines += [line, word[:cut]] if line else [word[:cut]]
            line, word = "", word[cut:]
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > WIDTH - 2 * MARGIN:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def shortened(name: str, length: int) -> str:
    """A name of that length at most, without its middle where it is longer."""
    half = (length - 3) // 2
    return name if len(name) <= length else f"{name[: length - 3 - half]}...{name[-half:]}"


def _shown(text: str) -> str:
    """What Pillow's own font has letters for; `?` for the others."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else "less than 0.1 %"


# --------------------------------------------------------------------------------------------------------- pictures


def _pictures(report: Report) -> list[Rgb]:
    height, width = report.invented.shape
    face = report.facts["ranking_face"]
    likest = report.people[face - 1] if face else None
    return _rows(report, (0, 0, width, height), likest, numbered=len(report.people) > 1)


def _near_by(report: Report) -> list[Rgb]:
    """Faces that are small in the photo, larger; those of which nothing was made up are left out."""
    pieces = []
    height, width = report.invented.shape
    for number, person in list(enumerate(report.people, 1))[:MOST_FACES]:
        x0, y0, x1, y1 = person.box
        side = max(x1 - x0, y1 - y0)
        if not person.invented or side > SMALL * max(height, width):
            continue
        rim = AROUND * side
        left, top = max(0, int(x0 - rim)), max(0, int(y0 - rim))
        right, low = min(width, int(x1 + rim) + 1), min(height, int(y1 + rim) + 1)
        if right > left and low > top:
            pieces += [_text([(f"Face {number}", 22, INK)]), *_rows(report, (left, top, right, low), person)]
    return pieces


def _rows(
    report: Report, window: tuple[int, int, int, int], person: Person | None, numbered: bool = False
) -> list[Rgb]:
    """Before, the first result tinted, and all results, with a caption below each."""
    columns = min((4, 3), key=lambda count: -(len(report.results) + 2) % count)  # with the fewest gaps
    cell = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns
    first = report.results[report.order[0]]
    near = [_near(report.before, report.invented.shape, window, cell), _tinted(report, first, window, cell, numbered)]
    near += [_near(report.results[place], report.invented.shape, window, cell) for place in report.order]
    captions = ["before", "tinted: made up", *_captions(report, person)]
    cells = [
        np.vstack([celled(picture, cell, len(picture)), text_line(_shown(text), cell, 34, 20, INK)])
        for picture, text in zip(near, captions, strict=True)
    ]
    blank = np.full_like(cells[0], 255)
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        row += [blank] * (columns - len(row))
        strip = joined(row, axis=1, gap=GAP)
        rest = WIDTH - MARGIN - strip.shape[1]
        rows.append(np.pad(strip, ((0, 0), (MARGIN, rest), (0, 0)), constant_values=255))
    return rows


def _captions(report: Report, person: Person | None) -> list[str]:
    """The results' names in their order, with the similarity of a face to the references."""
    scores = person.by_reference if person else []
    if len(report.results) == 1:
        return [f"after: {scores[0]:.2f} to the references" if scores else "after"]
    captions = []
    for number, place in enumerate(report.order, 1):
        name = shortened(report.facts["results"][place]["file"], 26)
        captions.append(f"{number}. {name}: {scores[place]:.2f}" if scores else name)
    return captions


def _near(picture: Image, size: tuple[int, ...], window: tuple[int, int, int, int], cell: int) -> Rgb:
    """That window of the result, or what is there in a picture of another size, as large as a cell can hold."""
    y, x = (now / then for now, then in zip(picture.shape[:2], size, strict=True))
    left, top, right, low = (round(place * ratio) for place, ratio in zip(window, (x, y, x, y), strict=True))
    right, low = max(right, left + 1), max(low, top + 1)
    part = images.eight_bits(picture[top:low, left:right])
    return resized(part, _fit(window, cell))


def _tinted(report: Report, picture: Image, window: tuple[int, int, int, int], cell: int, numbered: bool) -> Rgb:
    """The same with its made-up part tinted, in the cell's pixels: one that has any of it in it counts."""
    left, top, right, low = window
    size = _fit(window, cell)
    part = report.invented[top:low, left:right].astype(np.float32)
    larger = size[1] >= right - left
    mask = cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR if larger else cv2.INTER_AREA)
    drawn = overlay(_near(picture, report.invented.shape, window, cell), mask > (0.5 if larger else 0.0))
    return _with_numbers(drawn, report.people, size[1] / (right - left)) if numbered else drawn


def _with_numbers(picture: Rgb, people: Sequence[Person], ratio: float) -> Rgb:
    """Boxes and numbers of faces: white with a dark rim, seen on anything."""
    canvas = Pillow.fromarray(picture)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=20)
    for number, person in enumerate(people, 1):
        x0, y0, x1, y1 = (value * ratio for value in person.box)
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=INK, width=3)
        pen.rectangle((x0, y0, x1, y1), outline=PAPER, width=1)
        pen.text((x0 + 5, y0 + 2), str(number), fill=PAPER, font=font, stroke_width=2, stroke_fill=INK)
    return np.array(canvas)


def _fit(window: tuple[int, int, int, int], cell: int) -> tuple[int, int]:
    """Height and width of a window in a cell."""
    return size_within((window[3] - window[1], window[2] - window[0]), cell, TALLEST)


def _strip(height: int) -> Rgb:
    return np.full((height, WIDTH, 3), 255, np.uint8)
