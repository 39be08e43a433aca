/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

/*
 * AUTOPTR(json_doc, json_doc_free) lets scopes own a struct json_doc: g_autoptr(json_doc) doc = json_doc_new();
 * g_autoptr() looks for the two names that this makes. GLib's own G_DEFINE_AUTOPTR_CLEANUP_FUNC needs a typedef of the struct,
 * which this tree does not use.
 */
#define AUTOPTR(name, free_function)                                                                                               \
        typedef __typeof__(struct name *) name##_autoptr;                                                                          \
        static inline void glib_autoptr_cleanup_##name(struct name **pointer)                                                      \
        {                                                                                                                          \
                if (*pointer)                                                                                                      \
                        (free_function)(*pointer);                                                                                 \
        }                                                                                                                          \
        struct name
