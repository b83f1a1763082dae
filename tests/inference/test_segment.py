"""What covers a face: found in its frame and laid back onto the photo; cleaned and widened; the model that ships."""

import cv2
import numpy as np
import pytest
import torch

from restore import images
from restore.archs.unet_arch import UNet
from restore.data.drawn import draw_face
from restore.errors import UserError
from restore.faces.face import Face
from restore.inference.holes import NothingHidden
from restore.inference.model import shipped
from restore.inference.segment import RIM, OccluderHole, Occluders, cleaned, large, within
from restore.keyed import draws
from restore.metrics.iou_metric import iou
from restore.registry import OCCLUSIONS, Part
from restore.weights import weights_bytes

RED = (220, 20, 20)


class ByColour(Occluders):
    """Takes whatever is red for something before the face."""

    def __init__(self):
        self.size, self.device = 128, torch.device("cpu")

    def sure(self, frame):
        red, green, _ = frame.unbind(1)
        return (red - green).unsqueeze(1).clamp(0, 1)


def agreement(found, true):
    """Intersection over union."""
    return (found & true).sum() / (found | true).sum()


def placed(angle, scale, size=(360, 420)):
    """Where a face stands whose frame is turned and `scale` times 128 px wide; and the matrix from the frame."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    middle = np.array([size[1], size[0]]) / 2
    turn = np.array([[c, -s], [s, c]])
    matrix = np.column_stack([turn, middle - turn @ [63.5, 63.5]])
    points = Face.aligned(128, 128).landmarks @ matrix[:, :2].T + matrix[:, 2]
    return Face.of_landmarks(points.astype(np.float32)), matrix


@pytest.mark.parametrize(("angle", "scale"), [(0, 1.0), (0.4, 2.3), (-0.7, 0.6), (0.1, 1.7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_found_lies_where_it_is_in_the_photo_with_a_rim(angle, scale, dtype):
    face, matrix = placed(angle, scale)
    corners = np.array([[35, 70], [90, 66], [84, 110], [48, 112]]) @ matrix[:, :2].T + matrix[:, 2]
    true = cv2.fillConvexPoly(np.zeros((360, 420), np.uint8), np.rint(corners).astype(np.int32), 1) > 0
    picture = np.full((360, 420, 3), 120, dtype)
    picture[true] = RED
    if dtype == np.uint16:
        picture *= 257
    found = ByColour()(picture, face)
    assert found.dtype == np.bool_
    radius = RIM * (face.box[2] - face.box[0])
    rim = int(np.ceil(radius + 1.5 * scale))  # a pixel and a half of the frame, where colours mix
    outer = cv2.dilate(true.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1)))
    assert (found >= true).mean() > 0.999
    assert not (found & (outer == 0)).any()
    assert agreement(found, within(true, radius)) > 0.93


def test_nothing_is_found_beyond_the_frame_and_faces_add_up():
    picture = np.full((300, 700, 3), RED, np.uint8)
    faces = [Face.of_landmarks(Face.aligned(128, 128).landmarks + np.float32([x, 60])) for x in (40, 400)]
    masks = [ByColour()(picture, face) for face in faces]
    assert 128**2 <= masks[0].sum() < 1.15 * 128**2
    assert not (masks[0] & masks[1]).any()
    shown, mask = OccluderHole("black", ByColour())("a", picture, faces)
    assert (mask == masks[0] | masks[1]).all()
    assert (shown[mask] == 0).all()
    assert (shown[~mask] == picture[~mask]).all()


def test_where_nothing_is_found_the_remedy_is_told():
    picture = np.full((128, 128, 3), 90, np.uint8)
    with pytest.raises(NothingHidden, match="--mask FILE"):
        OccluderHole("keep", ByColour())("a", picture, [Face.aligned(128, 128)])


def test_small_pieces_and_small_gaps_go_and_edges_stay():
    sure = torch.zeros(1, 1, 128, 128)
    sure[..., 40:90, 30:100] = 0.8
    sure[..., 39, 30:100] = 0.4  # an edge between pixels
    sure[..., 60:64, 50:54] = 0.1  # a gap
    sure[..., 5:9, 5:9] = 0.9  # a speck
    sure[..., 100:120, 5:25] = 0.7  # a second piece
    sure[..., 20:29, 100:109] = 0.7  # a third one, as large as an eye
    clean = cleaned(sure)
    assert (clean[..., 60:64, 50:54] > 0.5).all()
    assert (clean[..., 5:9, 5:9] < 0.5).all()
    changed = clean != sure
    assert changed.sum() == 32 + 81
    alone = torch.zeros(1, 1, 128, 128)
    alone[..., 20:29, 100:109] = 0.7
    assert torch.equal(cleaned(alone) > 0.5, alone > 0.5)
    holed = sure.clone()
    holed[..., 45:85, 40:90] = 0  # what is large enough is no gap: a ring stays a ring
    assert (cleaned(holed)[..., 45:85, 40:90] < 0.5).all()


def test_pieces_are_counted_over_corners():
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = True
    assert (large(mask, 2) == mask & (np.arange(8) < 4)).all()
    assert not large(np.zeros((8, 8), bool), 1).any()


def test_what_is_no_model_of_this_kind_is_told(tmp_path):
    with pytest.raises(UserError, match="no such weights file"):
        Occluders("occluders")
    network = UNet(mask_channel=False, num_feat=4, num_level=1)
    facts = {"arch": {"type": "UNet", "mask_channel": False, "num_feat": 4, "num_level": 1}, "scale": 1, "size": 64}
    file = tmp_path / "x.safetensors"
    file.write_bytes(weights_bytes(network, facts))
    with pytest.raises(UserError, match="task: Segmentation"):
        Occluders(file)


# ------------------------------------------------------------------------------------------- the model that ships

HIDDEN = {
    "mask": [{"type": "FaceMask"}],
    "stroke": [{"type": "Strokes", "count": [3, 5], "width": [0.06, 0.1], "area": [0.08, 0.2], "fill": "white"}],
    "hand": [{"type": "Hand"}],
}


@pytest.fixture(scope="module")
def occluders():
    if "occluder" not in shipped():
        pytest.skip("restore/models/occluder.safetensors is not there")
    return Occluders(device="cpu")


def drawn(number):
    """A face that training did not see."""
    return draw_face(1234, number, 192).image


def hidden(kind, number):
    chain = OCCLUSIONS.build(Part(type="Chain", parts=HIDDEN[kind]))
    return chain(drawn(number), Face.aligned(192, 192), draws("segment", kind, number))


@pytest.mark.parametrize(("kind", "bar"), [("mask", 0.8), ("stroke", 0.4), ("hand", 0.5)])
def test_the_model_finds_what_is_drawn_over_drawn_faces(occluders, kind, bar):
    """Intersection over union of the median face with the truth, which is widened by the same rim."""
    face, scores = Face.aligned(192, 192), []
    for number in range(15):
        picture, true = hidden(kind, number)
        scores.append(agreement(occluders(picture, face), within(true, RIM * (face.box[2] - face.box[0]))))
    print(kind, np.round(np.sort(scores), 2))
    assert np.median(scores) > bar


def test_the_model_finds_little_on_bare_drawn_faces(occluders):
    shares = [occluders(drawn(number), Face.aligned(192, 192)).mean() for number in range(15)]
    assert np.median(shares) < 0.005


def test_the_model_says_of_a_mirror_image_what_it_says_of_the_picture(occluders):
    picture, _ = hidden("mask", 3)
    face = Face.aligned(192, 192)
    one, other = occluders(picture, face), occluders(np.ascontiguousarray(picture[:, ::-1]), face)
    assert agreement(one, other[:, ::-1]) > 0.99
    deep = images.eight_bits(picture).astype(np.uint16) * 257
    assert agreement(one, occluders(deep, face)) > 0.995


def test_the_metric_agrees_with_this_files_own(occluders):
    picture, true = hidden("mask", 5)
    found = occluders(picture, Face.aligned(192, 192))
    pred, mask = (torch.from_numpy(each.astype(np.float32))[None, None] for each in (found, true))
    assert iou()(pred, pred, mask).item() == pytest.approx(agreement(found, true), abs=1e-9)
