# SPDX-License-Identifier: Apache-2.0
"""The protobuf form of an OpenAPI v2 document, as kubectl reads it (package openapi.v2 of gnostic).

Only what our documents hold is known; any other member raises an error, so that the two forms cannot differ in silence. Members in
order of the field numbers of OpenAPIv2.proto.
"""

import json
import struct

VARINT, DOUBLE, BYTES = 0, 1, 2


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def key(number, wire):
    return varint(number << 3 | wire)


def text(number, value):
    data = value if isinstance(value, bytes) else value.encode("utf-8")
    return key(number, BYTES) + varint(len(data)) + data


def whole(number, value):
    return key(number, VARINT) + varint(int(value))


def double(number, value):
    return key(number, DOUBLE) + struct.pack("<d", float(value))


def message(number, data):
    return text(number, data)


def any_value(value):
    """Any{yaml}: JSON is YAML; a line end as the Go library writes it."""
    return text(2, json.dumps(value, ensure_ascii=False) + "\n")


def named(name, data):
    return text(1, name) + message(2, data)


class Members:
    """Encodes the members of a JSON object and notices those that nobody asked for."""

    def __init__(self, source):
        self.rest = dict(source)
        self.out = bytearray()

    def add(self, name, encode):
        if name in self.rest:
            self.out += encode(self.rest.pop(name))
        return self

    def text(self, number, name):
        return self.add(name, lambda v: text(number, v))

    def texts(self, number, name):
        return self.add(name, lambda v: b"".join(text(number, part) for part in v))

    def whole(self, number, name):
        return self.add(name, lambda v: whole(number, v))

    def double(self, number, name):
        return self.add(name, lambda v: double(number, v))

    def any(self, number, name):
        return self.add(name, lambda v: message(number, any_value(v)))

    def anys(self, number, name):
        return self.add(name, lambda v: b"".join(message(number, any_value(part)) for part in v))

    def extensions(self, number):
        for name in [n for n in self.rest if n.startswith("x-")]:
            self.out += message(number, named(name, any_value(self.rest.pop(name))))
        return self

    def done(self):
        if self.rest:
            raise ValueError(f"no protobuf form for {', '.join(self.rest)}")
        return bytes(self.out)


def schema(source):
    m = Members(source)
    m.text(1, "$ref").text(2, "format").text(4, "description").any(5, "default").double(7, "maximum").double(9, "minimum")
    m.whole(11, "maxLength").whole(12, "minLength").whole(14, "maxItems").whole(15, "minItems")
    m.texts(19, "required").anys(20, "enum")
    m.add("additionalProperties", lambda v: message(21, message(1, schema(v))))
    m.add("type", lambda v: message(22, text(1, v)))
    m.add("items", lambda v: message(23, message(1, schema(v))))
    m.add("properties", lambda v: message(25, b"".join(message(1, named(n, schema(s))) for n, s in v.items())))
    return m.extensions(31).done()


def parameter(source):
    """ParametersItem{parameter}"""
    place = source["in"]
    m = Members(source)
    if place == "body":
        m.text(1, "description").text(2, "name").text(3, "in").whole(4, "required").add("schema", lambda v: message(5, schema(v)))
        return message(1, message(1, m.done()))
    if place == "query":
        m.whole(1, "required").text(2, "in").text(3, "description").text(4, "name").text(6, "type")
        return message(1, message(2, message(3, m.done())))
    m.whole(1, "required").text(2, "in").text(3, "description").text(4, "name").text(5, "type")
    return message(1, message(2, message(4, m.done())))


def response(source):
    """ResponseValue{response}"""
    m = Members(source)
    m.text(1, "description").add("schema", lambda v: message(2, message(1, schema(v))))
    return message(1, m.done())


def operation(source):
    m = Members(source)
    m.text(3, "description").text(5, "operationId").texts(6, "produces").texts(7, "consumes")
    m.add("parameters", lambda v: b"".join(message(8, parameter(p)) for p in v))
    m.add("responses", lambda v: message(9, b"".join(message(1, named(n, response(r))) for n, r in v.items())))
    return m.extensions(13).done()


def path_item(source):
    m = Members(source)
    for number, verb in ((2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")):
        m.add(verb, lambda v, n=number: message(n, operation(v)))
    m.add("parameters", lambda v: b"".join(message(9, parameter(p)) for p in v))
    return m.done()


def document(source):
    m = Members(source)
    m.text(1, "swagger")
    m.add("info", lambda v: message(2, Members(v).text(1, "title").text(2, "version").done()))
    m.add("paths", lambda v: message(8, b"".join(message(2, named(n, path_item(p))) for n, p in v.items())))
    m.add("definitions", lambda v: message(9, b"".join(message(1, named(n, schema(s))) for n, s in v.items())))
    return m.done()
