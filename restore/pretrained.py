"""Pretrained files that losses, metrics and detectors need: address, hash, licence, size; found, fetched, verified.

A file is looked for in the folder that RESTORE_WEIGHTS names (at any depth, by its name), then in the cache
(RESTORE_CACHE, else `~/.cache/restore`), and fetched into the cache when neither has it. Nothing is used whose hash
differs, and nothing is fetched before somebody asks for it.
"""

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from restore.errors import Fault, UserError, nearest
from restore.progress import watched

FOLDER, CACHE = "RESTORE_WEIGHTS", "RESTORE_CACHE"
TIMEOUT = 30.0  # seconds without a byte
_MIB = 2**20
_TORCH = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/"
_BASICSR = "https://raw.githubusercontent.com/XPixelGroup/BasicSR/8d56e3a045f9fb3e1d8872f92ee4a4f07f886b0a/"
_DEEP = "https://raw.githubusercontent.com/pietrocarbo/deep-transfer/e87e72f9f8612062431a82289b758ef570da52c3/"
_YUNET = "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/"
_MOBILEFACENET = (
    "https://raw.githubusercontent.com/Xiaoccer/MobileFaceNet_Pytorch/26bd8d262017e472a3c7f56d62929e2138a70aeb/"
)
_SSD = "https://raw.githubusercontent.com/JCookit/MMM-OneDrive/79a0516c822cb1c14f6d3968f4616ee366092503/models/"
_RETINAFACE = "https://raw.githubusercontent.com/cunjian/pytorch_face_landmark/6f34bf9f034aa2f521952f825e6ccc567deb42d6/Retinaface/"
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download/v0.1.0/"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/"


@dataclass(frozen=True)
class File:
    """One pretrained file. `aliases` are other names that the same bytes go by; `address` is empty for conversions."""

    name: str
    file: str
    address: str
    sha256: str
    size: int  # bytes
    licence: str
    purpose: str
    aliases: tuple[str, ...] = ()


def _torchvision(name: str, sha256: str, size: int, purpose: str, stem: str = "") -> File:
    file = f"{stem or name}-{sha256[:8]}.pth"
    return File(name, file, _TORCH + file, sha256, size, "BSD-3-Clause (torchvision)", purpose)


def _lpips(net: str, sha256: str, size: int) -> File:
    address = f"{_LPIPS}lpips/weights/v0.1/{net}.pth"
    purpose, aliases = f"LPIPS v0.1 heads of {net}", (f"{net}.pth", f"LPIPS_v0.1_{net}-{sha256[:8]}.pth")
    return File(f"lpips_{net}", f"lpips_v0.1_{net}.pth", address, sha256, size, "BSD-2-Clause", purpose, aliases)


# Sources of the hashes: their files' own names for the first eight digits, and checksum lists in public repositories.
FILES = {
    file.name: file
    for file in (
        _torchvision(
            "vgg19",
            "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
            574_673_361,
            "perceptual and style loss",
        ),
        _torchvision(
            "vgg16", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881, "lpips_vgg"
        ),
        _torchvision(
            "alexnet",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            244_408_911,
            "lpips_alex",
            "alexnet-owt",
        ),
        _torchvision(
            "squeezenet1_1",
            "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
            4_958_839,
            "lpips_squeeze",
        ),
        File(
            "squeezenet1_1_caffe",
            "squeezenet1_1_caffe_torch.pth",
            "",
            "1bff6490e008b3a3e3d063a2860a1436a41d5be176367319e1df535cce88736e",
            4_959_451,
            "BSD-2-Clause (SqueezeNet)",
            "lpips_squeeze_caffe, perceptual loss; SqueezeNet's first training, converted to torchvision's keys",
        ),
        File(
            "vgg_normalised",
            "vgg_normalised_conv3_1.pth",
            f"{_DEEP}models/autoencoder_vgg19/vgg19_3/vgg_normalised_conv3_1.pth",
            "ff8506173d3a17e7b0fbfbff242c00b6827cfbcd7c21852b46806ae6a3fd7b09",
            2_223_308,
            "Apache-2.0",
            "perceptual loss, where VGG19 cannot be had",
        ),
        File(
            "inception",
            "pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            95_628_359,
            "Apache-2.0",
            "FID",
            ("weights-inception-2015-12-05-6726825d.pth",),
        ),
        _lpips("alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0", 6_009),
        _lpips("vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868", 7_289),
        _lpips("squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76", 10_811),
        File(
            "niqe",
            "niqe_pris_params.npz",
            f"{_BASICSR}basicsr/metrics/niqe_pris_params.npz",
            "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
            11_850,
            "Apache-2.0",
            "NIQE",
        ),
        File(
            "big_lama",
            "big_lama.pt",
            "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
            "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
            205_669_692,
            "Apache-2.0 (LaMa)",
            "FFCGenerator; a TorchScript file, from which docs/archs.md takes the tensors",
            ("big-lama.pt",),
        ),
        File(
            "yunet",
            "face_detection_yunet_2023mar.onnx",
            f"{_YUNET}onnx/yunet_s_640_640.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            232_589,
            "MIT (OpenCV zoo)",
            "finding faces and their landmarks",
            ("yunet_s_640_640.onnx",),
        ),
        File(
            "mobilefacenet",
            "mobilefacenet_112x96_068.ckpt",
            f"{_MOBILEFACENET}model/best/068.ckpt",
            "e839247cdbdfc023fb7cadeaf53a4549d50c8fc24ad154c02e35920ea8910d99",
            4_130_855,
            "none stated; trained on CASIA-WebFace, for research",
            "identity loss",
            ("068.ckpt",),
        ),
        File(
            "opencv_ssd",
            "opencv_face_detector_uint8.pb",
            f"{_SSD}opencv_face_detector_uint8.pb",
            "5c71d752ef2cbf2f457ac82fdd580fcb2522fd04c5efdaed18eb6d9e2843fbed",
            2_727_750,
            "none stated; OpenCV's sample, from a repository under MIT",
            "finding faces: detector ssd",
        ),
        File(
            "opencv_ssd_graph",
            "opencv_face_detector.pbtxt",
            f"{_SSD}opencv_face_detector.pbtxt",
            "5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
            34_912,
            "none stated; OpenCV's sample, from a repository under MIT",
            "the layers of opencv_ssd",
        ),
        File(
            "retinaface",
            "retinaface_mobilenet0.25_Final.pth",
            f"{_RETINAFACE}weights/mobilenet0.25_Final.pth",
            "5f88f7957d9eaef82b49b9e0202bc56e97292e2aede2999209accd34442cc4df",
            1_786_259,
            "MIT",
            "finding faces and their landmarks: detector retinaface",
            ("mobilenet0.25_Final.pth",),
        ),
        File(
            "arcface",
            "recognition_arcface_ir_se50.pth",
            f"{_FACEXLIB}recognition_arcface_ir_se50.pth",
            "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
            175_367_323,
            "MIT (facexlib); trained on MS-Celeb-1M, for research",
            "identity: arcface",
            ("model_ir_se50.pth",),
        ),
        File(
            "sface",
            "face_recognition_sface_2021dec.onnx",
            f"{_ZOO}models/face_recognition_sface/face_recognition_sface_2021dec.onnx",
            "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
            38_696_353,
            "Apache-2.0 (OpenCV zoo)",
            "identity: sface",
        ),
    )
}


def describe(name: str) -> File:
    """The entry of that name. Raises `UserError`, with the nearest name, where there is none."""
    if name not in FILES:
        raise UserError(f"no pretrained file `{name}`{nearest(name, FILES) or '; there are ' + ', '.join(FILES)}")
    return FILES[name]


def find(name: str) -> Path:
    """The verified file of that name, fetched first when it is nowhere here.

    Raises:
        UserError: it is nowhere here and cannot be fetched, or what is here has another hash.
    """
    file = describe(name)
    paths = candidates(file)
    for path in paths:
        if sha256_of(path) == file.sha256:
            return path
    if paths:
        raise UserError(
            f"{paths[0]}: not the `{name}` it should be: SHA-256 {sha256_of(paths[0])[:16]}..., not "
            f"{file.sha256[:16]}...; remove it, or replace it by {file.address or file.file}"
        )
    return fetch(file)


def candidates(file: File) -> list[Path]:
    """The files here that bear one of its names: those below RESTORE_WEIGHTS, then those in the cache; not verified.

    Raises:
        UserError: RESTORE_WEIGHTS names no folder.
    """
    names = {file.file, *file.aliases}
    found = [cache() / name for name in (file.file, *file.aliases) if (cache() / name).is_file()]
    folder = os.environ.get(FOLDER)
    if not folder:
        return found
    if not Path(folder).is_dir():
        raise UserError(f"{FOLDER}={folder}: no such folder")
    below = [Path(root, name) for root, files in _walked(folder) for name in names & set(files)]
    return sorted(path for path in below if path.is_file()) + found


def _walked(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder at any depth and its files, behind links as well; once, though links may go round in circles."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
        else:
            seen.add(real)
            yield root, files


def cache() -> Path:
    """The folder that fetched files are kept in."""
    named = os.environ.get(CACHE)
    root = os.environ.get("XDG_CACHE_HOME")
    return Path(named).expanduser() if named else Path(root or Path.home() / ".cache") / "restore"


def sha256_of(path: Path) -> str:
    """The hash of a file, read in pieces."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error


def fetch(file: File) -> Path:
    """Fetches a file into the cache, going on where a fetch before was cut off; processes take turns.

    Raises:
        UserError: no address, no connection, the address answers with an error, or the hash is another.
        Fault: the disk refuses.
    """
    target = cache() / file.file
    if not file.address:
        raise UserError(_where(file, "is a conversion that no address offers"))
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part.with_suffix(".lock")):
            if target.is_file() and sha256_of(target) == file.sha256:
                return target  # another process was quicker
            _transfer(file, part)
            if (found := sha256_of(part)) != file.sha256:
                part.unlink()
                told = f"came with SHA-256 {found[:16]}..., not {file.sha256[:16]}..., and was thrown away"
                raise UserError(_where(file, told))
            os.replace(part, target)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise UserError(_where(file, f"cannot be fetched ({code}{reason})")) from error
    except OSError as error:
        raise Fault(f"{target}: cannot write: {error.strerror or error}") from error
    return target


def _where(file: File, problem: str) -> str:
    source = f"get it from {file.address} and " if file.address else "docs/weights.md says where it comes from; "
    place = f"put it below the folder that {FOLDER} names, or into {cache()}"
    return f"{file.name}: {file.file} {problem}; {source}{place}"


def _transfer(file: File, part: Path) -> None:
    """Brings `part` to the file's size. What was there stays when the server can go on behind it."""
    start = part.stat().st_size if part.is_file() else 0
    if start == file.size:
        return  # killed between the last byte and the new name
    if start > file.size:
        part.unlink()
        start = 0
    request = urllib.request.Request(file.address, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        goes_on = response.status == 206
        start = start if goes_on else 0
        with part.open("ab" if goes_on else "wb") as stream:
            total, done = -(-file.size // _MIB), start // _MIB
            for piece in watched(_pieces(response), total, f"{file.file}, MiB", done, lines=file.size > 10 * _MIB):
                stream.write(piece)
    size = part.stat().st_size
    if size < file.size:
        raise urllib.error.URLError(f"cut off after {size:,} of {file.size:,} bytes; the next try goes on there")


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    while piece := response.read(_MIB):
        yield piece


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Holds other processes of this cache up; on systems without `fcntl` nothing holds them."""
    with lock.open("w") as stream:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
