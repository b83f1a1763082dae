"""Tells every mistake in an option file at once, before any device, data or weights are touched."""

import argparse
import json

from restore.apps.arguments import add_option_file, overrides
from restore.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `restore check`."""
    add_option_file(parser, required=False)
    parser.add_argument("--schema", action="store_true", help="print a JSON schema of option files, for editors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Checks. Raises `UserError` with all mistakes."""
    if args.schema:
        from restore.options.json_schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return
    if not args.opt:
        raise UserError("restore check: name an option file with -opt, or ask for the --schema")

    from restore.apps.listing import count_parameters
    from restore.options.load import load

    options = load(args.opt, overrides(args))
    parameters = count_parameters(options.network_g)
    print(f"{args.opt}: correct; {options.name}: {options.network_g.type} with {parameters:,} parameters")
