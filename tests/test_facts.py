"""What files of strangers say of themselves: believed only where it can be meant, and never a reason to run code."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from benchmarks.bad_weights import NET, Evil, Scripted, _bomb, _script
from restore import load_model
from restore.errors import UserError
from restore.facts import bounded, checked, parsed
from restore.registry import ARCHS, Part
from restore.weights import read_facts, read_weights, weights_bytes
from tests.lab import network_file

FILE = Path("x.safetensors")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ([], "the whole: has to be a table of settings, found []"),
        ({"arch": "UNet"}, "arch: has to be a table of settings, found 'UNet'"),
        ({"arch": {"num_feat": 8}}, "arch.type: Field required, found {'num_feat': 8}"),
        ({"scale": 10**9}, "scale: Input should be less than or equal to 64, found 1000000000"),
        ({"scale": True}, "scale: Input should be a valid integer, found True"),
        ({"size": -1}, "size: Input should be greater than or equal to 1, found -1"),
        ({"faces": "yes"}, "faces: Input should be a valid boolean, found 'yes'"),
        ({"task": {"type": "a\nb"}}, r"task.type: String should match pattern '^[\w./-]{1,100}$', found 'a\nb'"),
    ],
)
def test_what_cannot_be_meant_is_told(facts, told):
    with pytest.raises(UserError) as caught:
        checked(facts, FILE)
    assert str(caught.value) == f"{FILE}: broken in what it says of itself: {told}"


def test_what_can_be_meant_stays():
    facts = {"arch": NET, "scale": 2, "task": {"type": "Restoration"}, "size": None, "iter": 5, "title": "x"}
    assert checked(facts, FILE) is facts


@pytest.mark.parametrize("text", ["[" * 100_000, '{"scale": NaN}', '{"scale": -Infinity}', "{"])
def test_json_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


@pytest.mark.parametrize("more", [{"num_feat": 6000}, {"num_block": 4000}])
def test_no_network_is_built_that_its_file_cannot_hold(tmp_path, more):
    file = tmp_path / "net.safetensors"
    network = network_file(file, NET, 2)
    file.write_bytes(weights_bytes(network, {"arch": NET | more, "scale": 2}))
    with pytest.raises(UserError, match=r"/net\.safetensors: broken: .* far larger than the file$"):
        load_model(file, device="cpu")


def absurd_sections():
    """Sections whose one argument is the largest number that the signature takes: a letter too many, or an attack."""
    for entry in (entry for entry in ARCHS if entry.name not in ("Spandrel",)):
        for name in entry.parameters:
            for value in (10**9, 4096):
                with suppress(ValidationError):
                    entry.schema.model_validate({name: value})
                    yield entry.name, name, value
                    break


@pytest.mark.slow
def test_no_number_in_a_file_takes_long_to_be_refused(tmp_path):
    file = tmp_path / "small"
    file.write_bytes(bytes(1000))
    for arch, name, value in absurd_sections():
        began = time.process_time()
        with suppress(UserError, ValueError, RuntimeError), bounded(file):  # the last of which says: out of memory
            ARCHS.build(Part.model_validate({"type": arch, name: value}))
        assert time.process_time() - began < 5, (arch, name, value)


def test_the_bound_ends_with_the_block_and_is_this_threads(tmp_path):
    file = tmp_path / "small"
    file.write_bytes(b"x")
    built = []

    def build():
        built.append(nn.Linear(9000, 9000, device="meta"))

    with bounded(file):
        other = threading.Thread(target=build)
        other.start()
        other.join()
        with pytest.raises(UserError, match="far larger"):
            build()
    build()
    assert len(built) == 2


@pytest.mark.parametrize(
    "arch",
    [
        {"type": "Spandrel", "file": "/etc/passwd"},
        {"type": "basicsr/SpyNet", "load_path": "x.pth"},
        {"type": "basicsr/SpyNet", "other": ["../x"]},
    ],
)
def test_a_file_names_no_other(tmp_path, arch):
    file = tmp_path / "net.safetensors"
    file.write_bytes(weights_bytes(nn.Linear(2, 2), {"arch": arch, "scale": 1}))
    with pytest.raises(UserError, match=r"is another file, and files may not name others; .* --network_g '\{type"):
        load_model(file, device="cpu")


def test_a_file_names_no_first_guess_but_its_user_may(tmp_path):
    noise = {"type": "DenoisingUNet", "block_out_channels": [8, 8], "norm_num_groups": 4, "attention_levels": []}
    guess, file = tmp_path / "guess.safetensors", tmp_path / "noise.safetensors"
    network_file(guess, {"type": "UNet", "num_feat": 4, "num_level": 2})
    network_file(file, noise, task={"type": "Diffusion", "start_with": str(guess), "start_from": 0.5})
    with pytest.raises(UserError, match=r"`task\.start_with` is another file, .* --task '\{start_with: \.\.\.\}'$"):
        load_model(file, device="cpu")
    assert load_model(file, device="cpu", task={"start_with": str(guess)}).kind == "unmask"


def test_facts_import_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    network = network_file(tmp_path / "net.safetensors", NET, 2)
    facts = {"arch": NET, "scale": 2, "plugins": ["evil"], "path": {"pretrain_network_g": "/etc/passwd"}}
    (tmp_path / "net.safetensors").write_bytes(weights_bytes(network, facts))
    assert load_model("net.safetensors", device="cpu").scale == 2


@pytest.mark.filterwarnings("ignore:.*jit.*:FutureWarning")
@pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt"])
def test_no_code_in_a_file_runs(tmp_path, suffix):
    pytest.importorskip("spandrel", reason="without spandrel a file that names no network is not opened")
    sentinel, file = tmp_path / "sentinel", tmp_path / f"evil.{suffix}"
    file.write_bytes(_script(sentinel))
    with pytest.raises(UserError, match=r"TorchScript, which is code and is not run"):
        load_model(file, device="cpu")
    torch.save({"params": Evil(sentinel)}, file)
    with pytest.raises(UserError, match=r"not a weights file that can be read safely \(UnpicklingError\)$"):
        load_model(file, device="cpu")
    assert not sentinel.exists()


@pytest.mark.filterwarnings("ignore:.*jit.*:FutureWarning")
def test_the_code_in_these_files_would_run_elsewhere(tmp_path):
    """Else the test above proves nothing."""
    sentinel, file = tmp_path / "sentinel", tmp_path / "evil.pt"
    file.write_bytes(_script(sentinel))
    torch.jit.load(str(file))
    assert sentinel.read_bytes()
    assert Scripted("").sentinel == ""
    torch.save(Evil(tmp_path / "other"), file)
    torch.load(file, weights_only=False)
    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"a": torch.zeros(1).expand(10**9)}, "no plain table of tensors"),
        ({1: torch.zeros(1)}, "no plain table of tensors"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "no plain table of tensors"),
        ({"a": torch.zeros(2, device="meta")}, "no plain table of tensors"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse:UserWarning")
def test_tensors_that_are_not_all_there_are_told(tmp_path, state, told):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(UserError, match=told):
        read_weights(tmp_path / "x.pth")


def test_an_archive_that_unfolds_is_told(tmp_path):
    file = tmp_path / "bomb.pth"
    file.write_bytes(_bomb())
    assert file.stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"bomb\.pth: would unpack to more than 4 times its size"):
        read_weights(file)


def test_weights_that_are_no_numbers_are_told_with_the_picture(tmp_path):
    network = network_file(tmp_path / "nan.safetensors", NET, 2)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    (tmp_path / "nan.safetensors").write_bytes(weights_bytes(network, {"arch": NET, "scale": 2}))
    model = load_model(tmp_path / "nan.safetensors", device="cpu")
    with pytest.raises(UserError, match=r"^nan: makes values that are no numbers"):
        model.answer(torch.zeros(1, 3, 8, 8))


def test_names_in_messages_stay_on_their_line(tmp_path):
    from safetensors.torch import save

    (tmp_path / "x.safetensors").write_bytes(save({"a\nb\x1b[2J" * 100: torch.zeros(1)}))
    assert read_facts(tmp_path / "x.safetensors") == {}
    with pytest.raises(UserError) as caught:
        load_model(tmp_path / "x.safetensors", device="cpu", network_g=NET)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 900
