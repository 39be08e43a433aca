/* SPDX-License-Identifier: Apache-2.0 */
#include "api/protobuf.h"
#include "base/clock.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define DEPTH_MAX        8
#define MEMBERS_MAX      100000 /* of all messages together: each costs a tree node */
#define TEXT_SECONDS_MAX 253402300799ull

/* Wire types (protobuf encoding guide). */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum field_form {
        FORM_STRING,
        FORM_INT,
        FORM_BOOL,
        FORM_TIME,
        FORM_MESSAGE,
        FORM_STRINGS,
        FORM_MESSAGES,
        FORM_MAP,
        FORM_MAP_OF_BYTES
};

struct field {
        unsigned number; /* 0: the end */
        const char *name;
        enum field_form form;
        const struct field *message;
};

static const struct field owner_fields[] = {
        {1, "kind", FORM_STRING},
        {3, "name", FORM_STRING},
        {4, "uid", FORM_STRING},
        {5, "apiVersion", FORM_STRING},
        {6, "controller", FORM_BOOL},
        {7, "blockOwnerDeletion", FORM_BOOL},
        {},
};

static const struct field metadata_fields[] = {
        {1, "name", FORM_STRING},
        {2, "generateName", FORM_STRING},
        {3, "namespace", FORM_STRING},
        {5, "uid", FORM_STRING},
        {6, "resourceVersion", FORM_STRING},
        {7, "generation", FORM_INT},
        {8, "creationTimestamp", FORM_TIME},
        {9, "deletionTimestamp", FORM_TIME},
        {11, "labels", FORM_MAP},
        {12, "annotations", FORM_MAP},
        {13, "ownerReferences", FORM_MESSAGES, owner_fields},
        {14, "finalizers", FORM_STRINGS},
        {},
};

static const struct field namespace_spec_fields[] = {{1, "finalizers", FORM_STRINGS}, {}};
static const struct field namespace_fields[] = {
        {1, "metadata", FORM_MESSAGE, metadata_fields},
        {2, "spec", FORM_MESSAGE, namespace_spec_fields},
        {},
};
static const struct field secret_fields[] = {
        {1, "metadata", FORM_MESSAGE, metadata_fields},
        {2, "data", FORM_MAP_OF_BYTES},
        {3, "type", FORM_STRING},
        {4, "stringData", FORM_MAP},
        {5, "immutable", FORM_BOOL},
        {},
};
static const struct field config_map_fields[] = {
        {1, "metadata", FORM_MESSAGE, metadata_fields},
        {2, "data", FORM_MAP},
        {3, "binaryData", FORM_MAP_OF_BYTES},
        {4, "immutable", FORM_BOOL},
        {},
};
static const struct field resource_attributes_fields[] = {
        {1, "namespace", FORM_STRING}, {2, "verb", FORM_STRING},        {3, "group", FORM_STRING}, {4, "version", FORM_STRING},
        {5, "resource", FORM_STRING},  {6, "subresource", FORM_STRING}, {7, "name", FORM_STRING},  {},
};
static const struct field path_attributes_fields[] = {{1, "path", FORM_STRING}, {2, "verb", FORM_STRING}, {}};
static const struct field access_spec_fields[] = {
        {1, "resourceAttributes", FORM_MESSAGE, resource_attributes_fields},
        {2, "nonResourceAttributes", FORM_MESSAGE, path_attributes_fields},
        {},
};
static const struct field access_fields[] = {
        {1, "metadata", FORM_MESSAGE, metadata_fields},
        {2, "spec", FORM_MESSAGE, access_spec_fields},
        {},
};
static const struct field rules_spec_fields[] = {{1, "namespace", FORM_STRING}, {}};
static const struct field rules_fields[] = {
        {1, "metadata", FORM_MESSAGE, metadata_fields},
        {2, "spec", FORM_MESSAGE, rules_spec_fields},
        {},
};

static const struct {
        const char *api_version, *kind;
        const struct field *fields;
} kinds[] = {
        {"v1", "Namespace", namespace_fields},
        {"v1", "Secret", secret_fields},
        {"v1", "ConfigMap", config_map_fields},
        {"authorization.k8s.io/v1", "SelfSubjectAccessReview", access_fields},
        {"authorization.k8s.io/v1", "SelfSubjectRulesReview", rules_fields},
};

struct reader {
        const unsigned char *at, *end;
};

struct decoder {
        struct json_doc *doc;
        size_t members;
};

/* One field of a message as it stands on the wire. */
struct member {
        unsigned number, wire;
        uint64_t varint;
        struct reader bytes;
};

static bool take_varint(struct reader *reader, uint64_t *ret_value)
{
        uint64_t value = 0;

        for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
                unsigned char byte = *reader->at++;

                value |= (uint64_t)(byte & 0x7f) << shift;
                if (!(byte & 0x80)) {
                        *ret_value = value;
                        return true;
                }
        }
        return false;
}

static bool take_bytes(struct reader *reader, uint64_t len, struct reader *ret_bytes)
{
        if (len > (uint64_t)(reader->end - reader->at))
                return false;
        *ret_bytes = (struct reader){.at = reader->at, .end = reader->at + len};
        reader->at += len;
        return true;
}

static bool take_member(struct reader *reader, struct member *ret_member)
{
        uint64_t tag, len;

        if (!take_varint(reader, &tag) || tag >> 3 == 0 || tag >> 3 > 536870911)
                return false;
        *ret_member = (struct member){.number = (unsigned)(tag >> 3), .wire = (unsigned)(tag & 7)};
        switch (ret_member->wire) {
        case WIRE_VARINT:
                return take_varint(reader, &ret_member->varint);
        case WIRE_FIXED64:
                return take_bytes(reader, 8, &ret_member->bytes);
        case WIRE_FIXED32:
                return take_bytes(reader, 4, &ret_member->bytes);
        case WIRE_BYTES:
                return take_varint(reader, &len) && take_bytes(reader, len, &ret_member->bytes);
        default:
                return false;
        }
}

static size_t length(const struct reader *bytes)
{
        return (size_t)(bytes->end - bytes->at);
}

/* JSON of this tree carries no U+0000. */
static bool is_text(const struct reader *bytes)
{
        return length(bytes) == 0 || !memchr(bytes->at, 0, length(bytes));
}

static struct json_value *new_text(struct decoder *decoder, const struct reader *bytes, bool base64)
{
        g_autofree char *text = base64 ? g_base64_encode(bytes->at, length(bytes)) : NULL;

        return text ? json_new_string(decoder->doc, text)
                    : json_new_string_len(decoder->doc, (const char *)bytes->at, length(bytes));
}

/* map<string, string> and map<string, bytes>: an entry is a message of key and value. */
static bool put_entry(struct decoder *decoder, struct json_value *map, struct reader entry, bool base64)
{
        struct reader key = {}, value = {};
        struct member member;

        while (entry.at < entry.end) {
                if (!take_member(&entry, &member))
                        return false;
                if (member.wire == WIRE_BYTES && member.number == 1)
                        key = member.bytes;
                else if (member.wire == WIRE_BYTES && member.number == 2)
                        value = member.bytes;
        }
        if (!is_text(&key) || (!base64 && !is_text(&value)))
                return false;
        g_autofree char *name = g_strndup((const char *)key.at ?: "", length(&key));
        json_set(decoder->doc, map, name, new_text(decoder, &value, base64));
        return true;
}

/* Time: seconds and nanoseconds; JSON has whole seconds. */
static bool put_time(struct decoder *decoder, struct json_value *object, const char *name, struct reader bytes)
{
        char text[CLOCK_RFC3339_MAX];
        uint64_t seconds = 0;
        struct member member;

        while (bytes.at < bytes.end) {
                if (!take_member(&bytes, &member))
                        return false;
                if (member.number == 1 && member.wire == WIRE_VARINT)
                        seconds = member.varint;
        }
        if (seconds > 0 && seconds <= TEXT_SECONDS_MAX)
                json_set_string(decoder->doc, object, name, clock_format_rfc3339(seconds * 1000000, false, text));
        return true;
}

static bool put_members(struct decoder *decoder, struct json_value *object, const struct field *fields, struct reader bytes,
                        unsigned depth);

static bool put_message(struct decoder *decoder, struct json_value *object, const struct field *field, struct reader bytes,
                        unsigned depth)
{
        struct json_value *message = json_new(decoder->doc, JSON_OBJECT);

        if (!put_members(decoder, message, field->message, bytes, depth + 1))
                return false;
        if (field->form == FORM_MESSAGES)
                json_append(json_ensure_array(decoder->doc, object, field->name), message);
        else if (json_length(message))
                json_set(decoder->doc, object, field->name, message);
        return true;
}

/* The writer puts every field that is no pointer: empty text and zero mean absent, as in its JSON. */
static bool put_member(struct decoder *decoder, struct json_value *object, const struct field *field, const struct member *member,
                       unsigned depth)
{
        struct json_doc *doc = decoder->doc;

        if ((field->form == FORM_INT || field->form == FORM_BOOL) != (member->wire == WIRE_VARINT) ||
            (member->wire != WIRE_VARINT && member->wire != WIRE_BYTES))
                return false;
        if ((field->form == FORM_STRING || field->form == FORM_STRINGS) && !is_text(&member->bytes))
                return false;
        switch (field->form) {
        case FORM_STRING:
                if (length(&member->bytes))
                        json_set(doc, object, field->name, new_text(decoder, &member->bytes, false));
                return true;
        case FORM_INT:
                if (member->varint)
                        json_set_int(doc, object, field->name, (int64_t)member->varint);
                return true;
        case FORM_BOOL:
                json_set_bool(doc, object, field->name, member->varint);
                return true;
        case FORM_TIME:
                return put_time(decoder, object, field->name, member->bytes);
        case FORM_STRINGS:
                json_append(json_ensure_array(doc, object, field->name), new_text(decoder, &member->bytes, false));
                return true;
        case FORM_MAP:
        case FORM_MAP_OF_BYTES:
                return put_entry(decoder, json_ensure_object(doc, object, field->name), member->bytes,
                                 field->form == FORM_MAP_OF_BYTES);
        case FORM_MESSAGE:
        case FORM_MESSAGES:
                return put_message(decoder, object, field, member->bytes, depth);
        }
        return false;
}

static bool put_members(struct decoder *decoder, struct json_value *object, const struct field *fields, struct reader bytes,
                        unsigned depth)
{
        struct member member;

        if (depth > DEPTH_MAX)
                return false;
        while (bytes.at < bytes.end) {
                const struct field *field = fields;

                if (++decoder->members > MEMBERS_MAX || !take_member(&bytes, &member))
                        return false;
                while (field->number && field->number != member.number)
                        field++;
                if (field->number && !put_member(decoder, object, field, &member, depth))
                        return false;
        }
        return true;
}

/* runtime.Unknown: type meta in 1 (apiVersion 1, kind 2), the object's message in 2. */
static bool take_envelope(const char *data, size_t len, char **ret_api_version, char **ret_kind, struct reader *ret_object)
{
        static const char magic[] = {'k', '8', 's', 0};
        struct reader reader = {.at = (const unsigned char *)data, .end = (const unsigned char *)data + len};
        struct reader type = {};
        struct member member;

        if (len < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0)
                return false;
        reader.at += sizeof(magic);
        while (reader.at < reader.end) {
                if (!take_member(&reader, &member))
                        return false;
                if (member.number == 1 && member.wire == WIRE_BYTES)
                        type = member.bytes;
                else if (member.number == 2 && member.wire == WIRE_BYTES)
                        *ret_object = member.bytes;
        }
        while (type.at < type.end) {
                char **text;

                if (!take_member(&type, &member) || member.wire != WIRE_BYTES)
                        return false;
                text = member.number == 1 ? ret_api_version : member.number == 2 ? ret_kind : NULL;
                if (text && !*text)
                        *text = g_strndup((const char *)member.bytes.at, length(&member.bytes));
        }
        return ret_object->at;
}

static const struct field *fields_of(const char *api_version, const char *kind)
{
        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (g_strcmp0(kinds[i].api_version, api_version) == 0 && g_strcmp0(kinds[i].kind, kind) == 0)
                        return kinds[i].fields;
        return NULL;
}

int protobuf_parse(const char *data, size_t len, struct json_doc **ret_doc)
{
        g_autofree char *api_version = NULL, *kind = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct decoder decoder = {.doc = doc};
        struct reader object = {};
        const struct field *fields;

        assert((data || !len) && ret_doc);
        if (!take_envelope(data, len, &api_version, &kind, &object))
                return PROTOBUF_E_MALFORMED;
        fields = fields_of(api_version, kind);
        if (!fields)
                return PROTOBUF_E_KIND;
        json_set_root(doc, json_new(doc, JSON_OBJECT));
        json_set_string(doc, json_root(doc), "apiVersion", api_version);
        json_set_string(doc, json_root(doc), "kind", kind);
        if (!put_members(&decoder, json_root(doc), fields, object, 0))
                return PROTOBUF_E_MALFORMED;
        *ret_doc = g_steal_pointer(&doc);
        return 0;
}
