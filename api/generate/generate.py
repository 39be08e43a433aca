# SPDX-License-Identifier: Apache-2.0
"""Turns api/*.yaml into C tables, typed views, OpenAPI documents and the reference manual.

usage: generate.py [--manual DIR] OUTPUT_DIR FILE.yaml ...
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check  # noqa: E402
import emit_c  # noqa: E402
import load  # noqa: E402


def outputs(model):
    """File name -> text."""
    return {
        "api_types.h": emit_c.emit_types_h(model),
        "api_tables.c": emit_c.emit_tables_c(model),
        "reasons.h": emit_c.emit_reasons_h(model),
        "reasons.c": emit_c.emit_reasons_c(model),
    }


def build(files):
    """The checked model."""
    model = load.load(files)
    check.check(model)
    return model


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args(arguments)
    try:
        model = build(options.files)
    except load.SchemaError as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    folder = pathlib.Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in outputs(model).items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
