/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

/* Small words over libxml2's tree; memory that runs out ends the program, as with GLib. For this folder. */

static inline void xml_doc_freep(xmlDocPtr *doc)
{
        if (*doc)
                xmlFreeDoc(*doc);
}
#define AUTO_XML __attribute__((cleanup(xml_doc_freep))) xmlDocPtr

/** xml_new() - a document with the root @name. */
xmlDocPtr xml_new(const char *name);
xmlNodePtr xml_root(xmlDocPtr doc);
/** xml_add() - a new last child; then pairs of attribute name and value up to NULL. A pair with a NULL value is left out. */
xmlNodePtr xml_add(xmlNodePtr parent, const char *name, ...) G_GNUC_NULL_TERMINATED;
/** xml_add_text() - a new last child with text. */
xmlNodePtr xml_add_text(xmlNodePtr parent, const char *name, const char *text);
xmlNodePtr xml_add_number(xmlNodePtr parent, const char *name, uint64_t number);
void xml_set(xmlNodePtr node, const char *name, const char *value);
void xml_set_number(xmlNodePtr node, const char *name, uint64_t number);
/** xml_to_text() - indented text without an XML declaration; g_free(). */
char *xml_to_text(xmlDocPtr doc);
/** xml_node_to_text() - one element with its name spaces; g_free(). */
char *xml_node_to_text(xmlNodePtr node);

/** xml_parse() - at most @max_bytes of XML without a document type, entities or network; NULL when refused. */
xmlDocPtr xml_parse(const char *text, size_t max_bytes);
/** xml_child() - the first child element of that name, or NULL; a NULL node has none. */
xmlNodePtr xml_child(xmlNodePtr node, const char *name);
/** xml_next() - the next sibling element of the same name. */
xmlNodePtr xml_next(xmlNodePtr node);
/** xml_find() - xml_child() along a path "a/b/c". */
xmlNodePtr xml_find(xmlNodePtr node, const char *path);
/** xml_attribute() - its value in @arena, or NULL. */
const char *xml_attribute(xmlNodePtr node, const char *name, struct arena *arena);
bool xml_attribute_is(xmlNodePtr node, const char *name, const char *value);
/** xml_attribute_number() - decimal or 0x hexadecimal; @otherwise when absent, malformed or above @max. */
uint64_t xml_attribute_number(xmlNodePtr node, const char *name, uint64_t max, uint64_t otherwise);
/** xml_text() - the element's text in @arena, or NULL for a NULL node. */
const char *xml_text(xmlNodePtr node, struct arena *arena);
uint64_t xml_text_number(xmlNodePtr node, uint64_t max, uint64_t otherwise);
