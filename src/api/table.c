/* SPDX-License-Identifier: Apache-2.0 */
#include "api/table.h"
#include "api/splice.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct json_value *table_page_metadata(struct json_doc *doc, const struct table_page *page)
{
        struct json_value *metadata = json_new(doc, JSON_OBJECT);
        char revision[24];

        g_snprintf(revision, sizeof(revision), "%" PRIu64, page->revision);
        json_set_string(doc, metadata, "resourceVersion", revision);
        json_set_string(doc, metadata, "continue", page->continue_token);
        if (page->remaining >= 0)
                json_set_int(doc, metadata, "remainingItemCount", page->remaining);
        return metadata;
}

static struct json_value *column_definitions(struct json_doc *doc, const struct schema_kind *kind)
{
        struct json_value *list = json_new(doc, JSON_ARRAY);

        for (const struct schema_column *column = kind->columns; column && column->name; column++) {
                struct json_value *definition = json_append(list, json_new(doc, JSON_OBJECT));

                json_set_string(doc, definition, "name", column->name);
                json_set_string(doc, definition, "type", column->type);
                json_set_string(doc, definition, "format", column->format ?: "");
                json_set_string(doc, definition, "description", column->doc ?: "");
                json_set_int(doc, definition, "priority", column->priority);
        }
        return list;
}

void table_begin(const struct table_options *options, const struct table_page *page, bool columns, GString *out)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        char version[32];

        assert(options && page && out);
        json_set_root(doc, root);
        g_snprintf(version, sizeof(version), "meta.k8s.io/%s", options->version);
        json_set_string(doc, root, "kind", "Table");
        json_set_string(doc, root, "apiVersion", version);
        json_set(doc, root, "metadata", table_page_metadata(doc, page));
        json_set(doc, root, "columnDefinitions", columns ? column_definitions(doc, options->kind) : json_new(doc, JSON_ARRAY));
        json_write(root, out);
        g_string_truncate(out, out->len - 1);
        g_string_append(out, ",\"rows\":[");
}

void table_end(GString *out)
{
        assert(out);
        g_string_append(out, "]}");
}

/* A number as JSON has it: a plain one at a glance, the rare others by the parser. */
static bool is_number(const char *text)
{
        g_autoptr(json_doc) doc = NULL;
        size_t len = strlen(text), digits = strspn(text, "0123456789");

        if (digits == len && (*text != '0' || len == 1))
                return len > 0;
        return strspn(text, "0123456789.-") == len && json_parse(text, len, &doc, NULL) == 0;
}

/* Clients print strings, numbers and booleans as they are; null is an empty cell. */
static void write_cell(const struct schema_column *column, const char *text, GString *out)
{
        bool number = strcmp(column->type, "integer") == 0 || strcmp(column->type, "number") == 0;
        bool boolean = strcmp(column->type, "boolean") == 0;

        if (!text)
                g_string_append(out, strcmp(column->type, "date") == 0 ? "\"<unknown>\"" : "null");
        else if ((number && is_number(text)) || (boolean && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)))
                g_string_append(out, text);
        else
                json_write_string(text, strlen(text), out);
}

/* As stored, or with another revision. */
static void write_metadata(const struct store_object *object, uint64_t revision, GString *out)
{
        const struct json_value *stored = json_get(object->root, "metadata");
        g_autoptr(json_doc) doc = NULL;
        struct json_value *metadata;
        char text[24];

        if (!revision || revision == object->revision) {
                json_write(stored, out);
                return;
        }
        doc = json_doc_new();
        metadata = json_copy(doc, stored);
        g_snprintf(text, sizeof(text), "%" PRIu64, revision);
        json_set_string(doc, metadata, "resourceVersion", text);
        json_write(metadata, out);
}

void table_metadata(const struct table_options *options, const struct store_object *object, uint64_t revision, GString *out)
{
        assert(options && object && out);
        g_string_append_printf(
                out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/%s\",\"metadata\":", options->version);
        write_metadata(object, revision, out);
        g_string_append_c(out, '}');
}

void table_row(const struct table_options *options, const struct store_object *object, uint64_t revision, GString *out)
{
        const char *before = "{\"cells\":[";

        assert(options && object && out);
        for (const struct schema_column *column = options->kind->columns; column && column->name; column++) {
                g_autofree char *text = schema_cell(column, object->root, options->now_us);

                g_string_append(out, before);
                write_cell(column, text, out);
                before = ",";
        }
        g_string_append(out, *before == ',' ? "]" : "{\"cells\":[]");
        if (strcmp(options->include_object, "Metadata") == 0) {
                g_string_append(out, ",\"object\":");
                table_metadata(options, object, revision, out);
        } else if (strcmp(options->include_object, "Object") == 0) {
                g_string_append(out, ",\"object\":");
                splice_object(object, options->api_version, revision, out);
        }
        g_string_append_c(out, '}');
}
