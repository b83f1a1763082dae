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


def add_pictures(parser: argparse._ActionsContainer, gt_required: bool = False) -> None:
    """Adds the options that say which pictures to score models on."""
    parser.add_argument("--gt", required=gt_required, metavar="DIR", help="GT pictures, a folder or .lmdb")
    parser.add_argument("--input", metavar="DIR", help="LQ pictures of the same names; without, LQ is made from GT")
    parser.add_argument("--occlusion", metavar="YAML", help="what hides a part of the GT: '[{type: LowerFace}]'")
    parser.add_argument("--mask", metavar="DIR", help="masks of what is missing in --input, of the GT's names")
    parser.add_argument(
        "--mask_polarity",
        default="white_missing",
        choices=["white_missing", "black_missing"],
        help="the colour that is missing (white_missing)",
    )


def overrides(args: argparse.Namespace) -> list[str]:
    """The overrides as `a.b=c`, in the order of the options above."""
    translated = []
    for item in args.force_yml:
        key, equals, value = item.partition("=")
        translated.append(key.strip().replace(":", ".") + equals + value.strip())
    return [*args.set, *translated]


def positive(text: str) -> int:
    """The type of an option that counts something: a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def not_negative(text: str) -> int:
    """The type of an option that counts something of which there may be none."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value
