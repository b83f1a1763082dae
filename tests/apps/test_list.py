"""`restore list`: what option files can name, plugins included."""

import sys

import pytest

from restore import cli
from restore.errors import UserError
from restore.registry import LOSSES

PLUGIN = '''
from restore.losses.loss import Loss
from restore.registry import LOSSES

@LOSSES.register
class SteepLoss(Loss):
    """How steep it is.

    Args:
        reach: how far is looked.
    """

    def __init__(self, reach: int = 1, weight: float = 1.0) -> None:
        super().__init__()
'''


@pytest.fixture
def listed(capsys):
    """Calls `restore list` and gives what it prints."""

    def call(*arguments):
        args = cli.build_parser().parse_args(["list", *arguments])
        args.run(args)
        return capsys.readouterr().out

    return call


def test_plugins_of_this_folder_are_shown(listed, tmp_path, monkeypatch):
    (tmp_path / "steep_loss.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    LOSSES.discover()
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    assert "SteepLoss" not in listed("losses")
    assert "SteepLoss(reach: int = 1, weight: float = 1.0)\n    How steep it is." in listed(
        "losses", "--plugin", "steep_loss"
    )
    assert "from steep_loss" in listed("losses", "SteepLoss")


def test_a_plugin_may_be_named_as_a_file(listed, tmp_path, monkeypatch):
    (tmp_path / "steep_loss_file.py").write_text(PLUGIN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    LOSSES.discover()
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    assert "SteepLoss" in listed("losses", "--plugin", str(tmp_path / "steep_loss_file.py"))


def test_a_plugin_that_is_not_there_is_told(listed, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match="no module `nowhere_loss`"):
        listed("--plugin", "nowhere_loss")
