"""The `restore` command. Each verb's module is light to import; what it needs is imported when it runs."""

import argparse
import sys

from restore import __version__, infer, test, train, unmask
from restore.apps import check, compare, demo, export, inspecting, listing, plot, prepare, slurm, sweep, weights
from restore.errors import run_main


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    about = "Trains, measures and applies face restoration models."
    parser = argparse.ArgumentParser(prog="restore", description=about)
    parser.add_argument("--version", action="version", version=f"restore {__version__}")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="VERB")
    for name, module, about in (
        ("train", train, "train an experiment"),
        ("test", test, "score or apply a model"),
        ("infer", infer, "restore photos and videos: enlarge them, or rebuild what is hidden"),
        ("unmask", unmask, "take off what covers people's faces in photos, such as masks"),
        ("check", check, "tell every mistake in an option file"),
        ("list", listing, "show what option files can name"),
        ("compare", compare, "score models and interpolations side by side, with intervals"),
        ("plot", plot, "draw the curves of experiments"),
        ("inspect", inspecting, "tell what a checkpoint or weights file holds"),
        ("export", export, "carry a model elsewhere: ONNX, torch.export, weights files"),
        ("demo", demo, "serve a page where people restore their photos"),
        ("slurm", slurm, "write a batch script for a cluster, and submit it"),
        ("sweep", sweep, "train a grid of settings, here or as a job array, and compare them"),
    ):
        module.add_arguments(verbs.add_parser(name, help=about, description=module.__doc__))
    prepare.add_parser(verbs)
    weights.add_parser(verbs)
    return parser


def main() -> None:
    """The entry point of the installed command."""
    run_main(lambda: _run(sys.argv[1:]))


def _run(arguments: list[str]) -> None:
    args = build_parser().parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
