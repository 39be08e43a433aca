/* SPDX-License-Identifier: Apache-2.0 */
#include "api/accept.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define RANGES_MAX 64

/* One media range of the header. */
struct range {
        char *type;    /* "application/json" */
        char *as;      /* parameter as=, or NULL */
        char *version; /* parameter v= */
        char *group;   /* parameter g= */
        double q;
};

static void range_clear(struct range *range)
{
        g_free(range->type);
        g_free(range->as);
        g_free(range->version);
        g_free(range->group);
}

static void take_parameter(struct range *range, const char *parameter)
{
        const char *equal = strchr(parameter, '=');
        g_autofree char *name = NULL, *value = NULL;

        if (!equal)
                return;
        name = g_ascii_strdown(parameter, equal - parameter);
        value = g_strdup(equal + 1);
        g_strstrip(name);
        g_strstrip(value);
        if (strcmp(name, "q") == 0)
                range->q = CLAMP(g_ascii_strtod(value, NULL), 0.0, 1.0);
        else if (strcmp(name, "as") == 0 && !range->as)
                range->as = g_steal_pointer(&value);
        else if (strcmp(name, "v") == 0 && !range->version)
                range->version = g_steal_pointer(&value);
        else if (strcmp(name, "g") == 0 && !range->group)
                range->group = g_steal_pointer(&value);
}

static void range_parse(const char *text, struct range *range)
{
        g_auto(GStrv) parts = g_strsplit(text, ";", 16);

        *range = (struct range){.q = 1.0, .type = g_ascii_strdown(parts[0] ?: "", -1)};
        g_strstrip(range->type);
        for (size_t i = 1; parts[0] && parts[i]; i++)
                take_parameter(range, parts[i]);
}

/* The forms of group meta.k8s.io. */
static bool range_serves_meta(const struct range *range, unsigned can, struct accept *ret_accept)
{
        static const struct {
                const char *as;
                unsigned can;
                enum accept_form form;
        } forms[] = {
                {"Table", ACCEPT_CAN_TABLE, ACCEPT_TABLE},
                {"PartialObjectMetadata", ACCEPT_CAN_METADATA, ACCEPT_METADATA},
                {"PartialObjectMetadataList", ACCEPT_CAN_METADATA_LIST, ACCEPT_METADATA},
        };
        static const char *const versions[] = {"v1", "v1beta1"};

        if (g_strcmp0(range->group, "meta.k8s.io") != 0)
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++)
                for (size_t j = 0; j < G_N_ELEMENTS(versions); j++)
                        if ((can & forms[i].can) && strcmp(range->as, forms[i].as) == 0 &&
                            g_strcmp0(range->version, versions[j]) == 0) {
                                *ret_accept = (struct accept){.form = forms[i].form, .version = versions[j]};
                                return true;
                        }
        return false;
}

static bool range_serves(const struct range *range, unsigned can, struct accept *ret_accept)
{
        static const char *const json_types[] = {"application/json", "application/*", "*/*", NULL};

        if ((can & ACCEPT_CAN_PROTOBUF) && g_str_has_prefix(range->type, "application/com.github.proto-openapi.spec.v2")) {
                *ret_accept = (struct accept){.form = ACCEPT_PROTOBUF};
                return true;
        }
        if (!g_strv_contains(json_types, range->type))
                return false;
        if (!range->as) {
                *ret_accept = (struct accept){.form = ACCEPT_JSON};
                return true;
        }
        return range_serves_meta(range, can, ret_accept);
}

bool accept_parse(const char *header, unsigned can, struct accept *ret_accept)
{
        g_auto(GStrv) texts = NULL;
        double best = 0;

        assert(ret_accept);
        *ret_accept = (struct accept){.form = ACCEPT_JSON};
        if (!header || !*header)
                return true;
        texts = g_strsplit(header, ",", RANGES_MAX);
        for (size_t i = 0; texts[i]; i++) {
                struct accept candidate;
                struct range range;

                range_parse(texts[i], &range);
                if (range.q > best && range_serves(&range, can, &candidate)) {
                        *ret_accept = candidate;
                        best = range.q;
                }
                range_clear(&range);
        }
        return best > 0;
}
