# SPDX-License-Identifier: Apache-2.0
"""Names of the wire as names of C."""

import re

RESERVED = set("""auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false linux unix
asm typeof""".split())


def snake(name):
    """guestOSInfo -> guest_os_info, imageUploadURLs -> image_upload_urls."""
    name = re.sub(r"([A-Z]{2,})s(?=[A-Z]|$)", lambda m: m.group(1).capitalize() + "s", name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[^A-Za-z0-9]", "_", name).lower()


def member(name):
    """The struct member of a field."""
    text = snake(name)
    if text[0].isdigit():
        text = "_" + text
    return text + "_" if text in RESERVED else text


def macro(code):
    return snake(code).upper()


def quote(text):
    """A C string literal of UTF-8 text."""
    out = []
    for byte in text.encode("utf-8"):
        c = chr(byte)
        if c in '"\\':
            out.append("\\" + c)
        elif 32 <= byte < 127 and c != "?":
            out.append(c)
        elif c == "?":
            out.append("?")
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'
