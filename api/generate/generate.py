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
import emit_manual  # noqa: E402
import emit_openapi  # noqa: E402
import gnostic  # noqa: E402
import load  # noqa: E402
import pools  # noqa: E402


def openapi_c(model):
    v2 = emit_openapi.v2(model)
    v3 = emit_openapi.v3(model)
    blobs = {
        "openapi_v2_protobuf": gnostic.document(v2),
        "openapi_v2_json": emit_openapi.compact(v2),
        "openapi_v3_index": emit_openapi.compact(emit_openapi.v3_index(v3)),
    }
    return emit_c.emit_blobs_c(blobs, {path: emit_openapi.compact(document) for path, document in v3.items()})


def outputs(model):
    """File name -> text."""
    return {
        "api_types.h": emit_c.emit_types_h(model),
        "api_rules.h": emit_c.emit_rules_h(model),
        "api_tables.c": emit_c.emit_tables_c(model),
        "reasons.h": emit_c.emit_reasons_h(model),
        "reasons.c": emit_c.emit_reasons_c(model),
        "openapi.c": openapi_c(model),
        "capabilities.h": pools.emit_h(model.matrix, emit_c.HEAD),
        "capabilities.c": pools.emit_c(model.matrix, emit_c.HEAD),
    }


def build(files):
    """The checked model."""
    model = load.load(files)
    check.check(model)
    pools.check(model.matrix, model.reasons)
    return model


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manual", help="folder for the reference manual")
    parser.add_argument("output")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args(arguments)
    try:
        model = build(options.files)
    except (load.SchemaError, pools.PoolError) as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    write(pathlib.Path(options.output), outputs(model))
    if options.manual:
        write(pathlib.Path(options.manual), emit_manual.pages(model))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
