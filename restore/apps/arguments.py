"""Command-line options that several verbs share."""

import argparse


def add_option_file(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Adds `-opt` and the overrides."""
    parser.add_argument("-opt", required=required, metavar="FILE.yml", help="the option file")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="a.b=c", help="overrides, such as train.total_iter=100"
    )
    parser.add_argument(
        "--force_yml", nargs="+", action="extend", default=[], metavar="a:b=c", help="the same in BasicSR's spelling"
    )


def overrides(args: argparse.Namespace) -> list[str]:
    """The overrides as `a.b=c`, in the order of the options above."""
    translated = []
    for item in args.force_yml:
        key, equals, value = item.partition("=")
        translated.append(key.strip().replace(":", ".") + equals + value.strip())
    return [*args.set, *translated]
