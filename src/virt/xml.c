/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/xml.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libxml/parser.h>
#include <libxml/xmlsave.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define X(text) ((const xmlChar *)(text))

static void *must(void *pointer)
{
        if (!pointer)
                g_error("out of memory in libxml2");
        return pointer;
}

xmlDocPtr xml_new(const char *name)
{
        xmlDocPtr doc = must(xmlNewDoc(X("1.0")));

        xmlDocSetRootElement(doc, must(xmlNewDocNode(doc, NULL, X(name), NULL)));
        return doc;
}

xmlNodePtr xml_root(xmlDocPtr doc)
{
        return xmlDocGetRootElement(doc);
}

xmlNodePtr xml_add(xmlNodePtr parent, const char *name, ...)
{
        xmlNodePtr node = must(xmlNewTextChild(parent, NULL, X(name), NULL));
        const char *key;
        va_list args;

        va_start(args, name);
        while ((key = va_arg(args, const char *))) {
                const char *value = va_arg(args, const char *);

                if (value)
                        xml_set(node, key, value);
        }
        va_end(args);
        return node;
}

xmlNodePtr xml_add_text(xmlNodePtr parent, const char *name, const char *text)
{
        assert(text);
        return must(xmlNewTextChild(parent, NULL, X(name), X(text)));
}

xmlNodePtr xml_add_number(xmlNodePtr parent, const char *name, uint64_t number)
{
        char text[24];

        g_snprintf(text, sizeof(text), "%" PRIu64, number);
        return xml_add_text(parent, name, text);
}

void xml_set(xmlNodePtr node, const char *name, const char *value)
{
        must(xmlSetProp(node, X(name), X(value)));
}

void xml_set_number(xmlNodePtr node, const char *name, uint64_t number)
{
        char text[24];

        g_snprintf(text, sizeof(text), "%" PRIu64, number);
        xml_set(node, name, text);
}

static char *save(xmlDocPtr doc, xmlNodePtr node)
{
        xmlBufferPtr buffer = must(xmlBufferCreate());
        xmlSaveCtxtPtr save_context = must(xmlSaveToBuffer(buffer, "UTF-8", XML_SAVE_NO_DECL | XML_SAVE_FORMAT));
        char *text;

        if ((node ? xmlSaveTree(save_context, node) : xmlSaveDoc(save_context, doc)) < 0)
                g_error("out of memory in libxml2");
        xmlSaveClose(save_context);
        text = g_strdup((const char *)xmlBufferContent(buffer));
        xmlBufferFree(buffer);
        return text;
}

char *xml_to_text(xmlDocPtr doc)
{
        return save(doc, NULL);
}

char *xml_node_to_text(xmlNodePtr node)
{
        return save(NULL, node);
}

xmlDocPtr xml_parse(const char *text, size_t max_bytes)
{
        size_t len = strnlen(text, max_bytes + 1);
        AUTO_XML doc = NULL;

        if (len > max_bytes)
                return NULL;
        doc = xmlReadMemory(text, (int)len, NULL, NULL,
                            XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
        if (!doc || doc->intSubset || doc->extSubset || !xml_root(doc))
                return NULL;
        return g_steal_pointer(&doc);
}

static xmlNodePtr first_named(xmlNodePtr node, const xmlChar *name)
{
        while (node && (node->type != XML_ELEMENT_NODE || xmlStrcmp(node->name, name)))
                node = node->next;
        return node;
}

xmlNodePtr xml_child(xmlNodePtr node, const char *name)
{
        return node ? first_named(node->children, X(name)) : NULL;
}

xmlNodePtr xml_next(xmlNodePtr node)
{
        return first_named(node->next, node->name);
}

xmlNodePtr xml_find(xmlNodePtr node, const char *path)
{
        while (node && *path) {
                size_t len = strcspn(path, "/");
                char name[64];

                assert(len < sizeof(name));
                memcpy(name, path, len);
                name[len] = '\0';
                node = xml_child(node, name);
                path += len + (path[len] == '/');
        }
        return node;
}

const char *xml_attribute(xmlNodePtr node, const char *name, struct arena *arena)
{
        xmlChar *value = node ? xmlGetNoNsProp(node, X(name)) : NULL;
        const char *copy = value ? arena_strdup(arena, (const char *)value) : NULL;

        xmlFree(value);
        return copy;
}

bool xml_attribute_is(xmlNodePtr node, const char *name, const char *value)
{
        xmlChar *found = node ? xmlGetNoNsProp(node, X(name)) : NULL;
        bool same = found && !xmlStrcmp(found, X(value));

        xmlFree(found);
        return same;
}

static uint64_t number_of(const xmlChar *text, uint64_t max, uint64_t otherwise)
{
        const char *digits = (const char *)text;
        bool hexadecimal = digits && g_str_has_prefix(digits, "0x");
        uint64_t value;

        if (!digits || !g_ascii_isdigit(*digits))
                return otherwise;
        return g_ascii_string_to_unsigned(digits + (hexadecimal ? 2 : 0), hexadecimal ? 16 : 10, 0, max, &value, NULL) ? value
                                                                                                                       : otherwise;
}

uint64_t xml_attribute_number(xmlNodePtr node, const char *name, uint64_t max, uint64_t otherwise)
{
        xmlChar *text = node ? xmlGetNoNsProp(node, X(name)) : NULL;
        uint64_t number = number_of(text, max, otherwise);

        xmlFree(text);
        return number;
}

const char *xml_text(xmlNodePtr node, struct arena *arena)
{
        xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
        const char *copy = text ? arena_strdup(arena, (const char *)text) : NULL;

        xmlFree(text);
        return copy;
}

uint64_t xml_text_number(xmlNodePtr node, uint64_t max, uint64_t otherwise)
{
        xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
        uint64_t number = number_of(text, max, otherwise);

        xmlFree(text);
        return number;
}
