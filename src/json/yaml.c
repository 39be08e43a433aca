/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "json/yaml_scalar.h"

#include <assert.h>
#include <string.h>
#include <yaml.h>

/* A container that is open, and in an object the key that waits for its value. */
struct frame {
        struct json_value *container;
        const char *key;
        size_t key_len;
};

struct reader {
        yaml_parser_t parser;
        struct json_doc *doc; /* of the document being read */
        struct frame stack[LIMIT_JSON_DEPTH];
        unsigned depth;
        size_t nodes;
        bool empty; /* the document is nothing at all, not even the word null */
        const char *text;
        struct json_fault *fault;
        GPtrArray *duplicates; /* NULL: a key that stands twice is refused; else where they are */
};

static int refuse(struct reader *reader, int outcome, const yaml_mark_t *mark, const char *reason, const char *detail)
{
        unsigned line = (unsigned)mark->line + 1;

        if (detail)
                json_fault_set(reader->fault, mark->index, line, "%s \"%s\"", reason, detail);
        else
                json_fault_set(reader->fault, mark->index, line, "%s", reason);
        return outcome;
}

/* The reader works ahead of the scanner, so that only its offset is right. */
static int refuse_bytes(struct reader *reader, size_t offset, const char *problem)
{
        unsigned line = 1;

        for (size_t i = 0; i < offset; i++)
                line += reader->text[i] == '\n';
        json_fault_set(reader->fault, offset, line, "%s", problem);
        return JSON_E_SYNTAX;
}

static int refuse_parser(struct reader *reader)
{
        const yaml_parser_t *parser = &reader->parser;
        const char *problem = parser->problem ? parser->problem : "not YAML";

        if (parser->error == YAML_READER_ERROR)
                return refuse_bytes(reader, parser->problem_offset, problem);
        return refuse(reader, JSON_E_SYNTAX, &parser->problem_mark, problem, NULL);
}

static int next_event(struct reader *reader, yaml_event_t *event)
{
        return yaml_parser_parse(&reader->parser, event) ? 0 : refuse_parser(reader);
}

/* Put a finished value, or a container about to be filled, where it belongs. */
static int place(struct reader *reader, const yaml_event_t *event, struct json_value *value)
{
        struct frame *frame;

        if (++reader->nodes > LIMIT_JSON_NODES)
                return refuse(reader, JSON_E_LIMIT, &event->start_mark, "too many values", NULL);
        if (!reader->depth) {
                reader->doc->root = value;
                return 0;
        }
        frame = &reader->stack[reader->depth - 1];
        if (frame->container->type == JSON_ARRAY) {
                json_append(frame->container, value);
                return 0;
        }
        json_object_append(reader->doc, frame->container, frame->key, frame->key_len, value);
        frame->key = NULL;
        return 0;
}

static bool awaits_key(const struct reader *reader)
{
        const struct frame *frame = reader->depth ? &reader->stack[reader->depth - 1] : NULL;

        return frame && frame->container->type == JSON_OBJECT && !frame->key;
}

/* "spec.disks[1].name" of member @key of the innermost container. */
static char *path_of(const struct reader *reader, const char *key)
{
        g_autoptr(GString) path = g_string_new(NULL);

        for (unsigned i = 1; i < reader->depth; i++) {
                const struct json_value *container = reader->stack[i].container;

                if (container->key)
                        g_string_append_printf(path, "%s%s", path->len ? "." : "", container->key);
                else
                        g_string_append_printf(path, "[%u]", reader->stack[i - 1].container->len - 1);
        }
        g_string_append_printf(path, "%s%s", path->len ? "." : "", key);
        return g_string_free(g_steal_pointer(&path), FALSE);
}

/* The later one counts, where that is allowed. */
static bool forget_earlier(struct reader *reader, struct json_value *object, const char *key, size_t len)
{
        if (!reader->duplicates || reader->duplicates->len >= JSON_DUPLICATES_MAX)
                return false;
        g_ptr_array_add(reader->duplicates, path_of(reader, key));
        json_remove_len(object, key, len);
        return true;
}

static int read_key(struct reader *reader, const yaml_event_t *event)
{
        struct frame *frame = &reader->stack[reader->depth - 1];
        const char *text = (const char *)event->data.scalar.value;
        size_t len = event->data.scalar.length;

        if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "merge keys are not allowed", NULL);
        if (json_get_len(frame->container, text, len) && !forget_earlier(reader, frame->container, text, len))
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "duplicate key", text);
        frame->key = arena_strndup(reader->doc->arena, text, len);
        frame->key_len = len;
        return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event)
{
        const char *text = (const char *)event->data.scalar.value;
        size_t len = event->data.scalar.length;
        struct json_value *value;
        int r;

        if (memchr(text, 0, len))
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "U+0000 in a string", NULL);
        if (event->data.scalar.anchor || event->data.scalar.tag)
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "anchors and tags are not allowed", NULL);
        if (awaits_key(reader))
                return read_key(reader, event);
        if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
                value = json_new_text(reader->doc, JSON_STRING, arena_strndup(reader->doc->arena, text, len), len);
                return place(reader, event, value);
        }
        reader->empty = !reader->depth && !len;
        r = yaml_scalar_resolve(reader->doc, text, len, &value);
        if (r)
                return refuse(reader, r, &event->start_mark, "JSON has no number", text);
        return place(reader, event, value);
}

static int open_container(struct reader *reader, const yaml_event_t *event, enum json_type type, bool marked)
{
        struct json_value *value;
        int r;

        if (marked)
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "anchors and tags are not allowed", NULL);
        if (awaits_key(reader))
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "a key must be a scalar", NULL);
        if (reader->depth == LIMIT_JSON_DEPTH)
                return refuse(reader, JSON_E_LIMIT, &event->start_mark, "nested too deeply", NULL);
        value = json_new_raw(reader->doc, type);
        r = place(reader, event, value);
        if (r)
                return r;
        reader->stack[reader->depth++] = (struct frame){.container = value};
        return 0;
}

static int read_event(struct reader *reader, const yaml_event_t *event)
{
        switch (event->type) {
        case YAML_ALIAS_EVENT:
                return refuse(reader, JSON_E_SYNTAX, &event->start_mark, "aliases are not allowed", NULL);
        case YAML_SCALAR_EVENT:
                return read_scalar(reader, event);
        case YAML_SEQUENCE_START_EVENT:
                return open_container(reader, event, JSON_ARRAY,
                                      event->data.sequence_start.anchor || event->data.sequence_start.tag);
        case YAML_MAPPING_START_EVENT:
                return open_container(reader, event, JSON_OBJECT,
                                      event->data.mapping_start.anchor || event->data.mapping_start.tag);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                reader->depth--;
                return 0;
        default:
                return 0;
        }
}

/* Everything from behind the document's start event to its end. */
static int read_document(struct reader *reader)
{
        bool ended = false;
        int r = 0;

        reader->doc = json_doc_new();
        reader->depth = 0;
        reader->empty = false;
        while (r == 0 && !ended) {
                yaml_event_t event;

                r = next_event(reader, &event);
                if (r)
                        break;
                ended = event.type == YAML_DOCUMENT_END_EVENT;
                r = read_event(reader, &event);
                yaml_event_delete(&event);
        }
        return r;
}

/* Hand each document to @each until the end of the stream. */
static int read_stream(struct reader *reader, int (*each)(struct json_doc *doc, void *userdata), void *userdata)
{
        bool ended = false;
        int r = 0;

        while (r == 0 && !ended) {
                yaml_event_t event;
                yaml_event_type_t type;

                r = next_event(reader, &event);
                if (r)
                        break;
                type = event.type;
                yaml_event_delete(&event);
                ended = type == YAML_STREAM_END_EVENT;
                if (type != YAML_DOCUMENT_START_EVENT)
                        continue;
                r = read_document(reader);
                if (r == 0 && !reader->empty)
                        r = each(g_steal_pointer(&reader->doc), userdata);
                reader->doc = json_doc_free(reader->doc);
        }
        return r;
}

static int parse_stream(const char *text, size_t len, int (*each)(struct json_doc *doc, void *userdata), void *userdata,
                        GPtrArray *duplicates, struct json_fault *reterr_fault)
{
        g_autofree struct reader *reader = NULL;
        int r;

        assert(text || !len);
        assert(each);
        if (len > LIMIT_JSON_BYTES) {
                json_fault_set(reterr_fault, 0, 1, "longer than %u bytes", LIMIT_JSON_BYTES);
                return JSON_E_LIMIT;
        }
        reader = g_new0(struct reader, 1);
        reader->fault = reterr_fault;
        reader->duplicates = duplicates;
        reader->text = text;
        if (!yaml_parser_initialize(&reader->parser))
                return -ENOMEM;
        yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&reader->parser, (const unsigned char *)(text ? text : ""), len);
        r = read_stream(reader, each, userdata);
        yaml_parser_delete(&reader->parser);
        json_doc_free(reader->doc);
        return r;
}

int json_parse_yaml_stream(const char *text, size_t len, int (*each)(struct json_doc *doc, void *userdata), void *userdata,
                           struct json_fault *reterr_fault)
{
        return parse_stream(text, len, each, userdata, NULL, reterr_fault);
}

struct single {
        struct json_doc *doc;
        bool several;
};

static int take_single(struct json_doc *doc, void *userdata)
{
        struct single *single = userdata;

        if (single->doc) {
                single->several = true;
                json_doc_free(doc);
                return JSON_E_SYNTAX;
        }
        single->doc = doc;
        return 0;
}

static int parse_single(const char *text, size_t len, GPtrArray *duplicates, struct json_doc **ret_doc,
                        struct json_fault *reterr_fault)
{
        struct single single = {0};
        int r = parse_stream(text, len, take_single, &single, duplicates, reterr_fault);

        if (r == 0 && !single.doc) {
                json_fault_set(reterr_fault, 0, 1, "there is no document");
                return JSON_E_SYNTAX;
        }
        if (r) {
                if (single.several)
                        json_fault_set(reterr_fault, 0, 1, "there is more than one document");
                json_doc_free(single.doc);
                return r;
        }
        *ret_doc = single.doc;
        return 0;
}

int json_parse_yaml(const char *text, size_t len, struct json_doc **ret_doc, struct json_fault *reterr_fault)
{
        size_t space = 0;

        assert(ret_doc);
        while (space < len && strchr(" \t\r\n", text[space]) && text[space])
                space++;
        /* JSON that YAML readers stumble over (tabs, surrogate pairs) is welcome too */
        if (space < len && text[space] == '{' && json_parse(text, len, ret_doc, NULL) == 0)
                return 0;
        return parse_single(text, len, NULL, ret_doc, reterr_fault);
}

int json_parse_lenient(const char *text, size_t len, GPtrArray *duplicates, struct json_doc **ret_doc,
                       struct json_fault *reterr_fault)
{
        assert(duplicates && ret_doc);
        return parse_single(text, len, duplicates, ret_doc, reterr_fault);
}
