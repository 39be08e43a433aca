/* SPDX-License-Identifier: Apache-2.0 */
#include "api/target.h"

#include <assert.h>
#include <glib.h>
#include <string.h>

#define SEGMENTS_MAX 12

void target_clear(struct target *target)
{
        assert(target);
        g_free(target->group);
        g_free(target->api_version);
        g_free(target->namespace);
        g_free(target->name);
        g_free(target->subresource);
        *target = (struct target){};
}

char *target_canonical_version(const struct schema_kind *kind)
{
        assert(kind);
        return *kind->group ? g_strconcat(kind->group, "/", kind->version, NULL) : g_strdup(kind->version);
}

char *target_resource_text(const struct target *target)
{
        assert(target && target->kind);
        return *target->group ? g_strconcat(target->kind->plural, ".", target->group, NULL) : g_strdup(target->kind->plural);
}

static bool has_alias(const struct schema_kind *kind, const char *api_version)
{
        return kind->aliases && g_strv_contains(kind->aliases, api_version);
}

/* The kind that @plural means under the addressed group and version. */
static const struct schema_kind *find_kind(struct target *target, const char *version, const char *plural, bool compat)
{
        const struct schema_kind *kind = schema_kind_by_plural(target->group, plural);

        if (kind && strcmp(kind->version, version) == 0)
                return kind->internal ? NULL : kind;
        for (size_t i = 0; compat && schema_kinds[i]; i++) {
                kind = schema_kinds[i];
                if (!kind->internal && strcmp(kind->plural, plural) == 0 && has_alias(kind, target->api_version)) {
                        target->alias = true;
                        return kind;
                }
        }
        return NULL;
}

/* The rest of a path behind its resource: [name [subresource]]. */
static bool take_tail(struct target *target, char **segments)
{
        if (segments[0])
                target->name = g_strdup(segments[0]);
        if (segments[0] && segments[1])
                target->subresource = g_strdup(segments[1]);
        return !segments[0] || !segments[1] || !segments[2];
}

/* namespaces/NS/PLURAL[/NAME[/SUB]], or an object of the kind Namespace itself. */
static bool take_namespaced(struct target *target, const char *version, char **segments, bool compat)
{
        const struct schema_kind *kind = find_kind(target, version, segments[2], compat);

        if (!kind || !kind->namespaced)
                return false;
        target->kind = kind;
        target->namespace = g_strdup(segments[1]);
        return take_tail(target, segments + 3);
}

static bool take_resource(struct target *target, const char *version, char **segments, bool compat)
{
        if (strcmp(segments[0], "namespaces") == 0 && g_strv_length(segments) >= 3 &&
            take_namespaced(target, version, segments, compat))
                return true;
        if (target->namespace)
                return false;
        target->kind = find_kind(target, version, segments[0], compat);
        if (!target->kind || (target->kind->namespaced && segments[1]))
                return false;
        return take_tail(target, segments + 1);
}

static bool no_empty_segment(char **segments)
{
        for (; *segments; segments++)
                if (!**segments)
                        return false;
        return true;
}

int target_parse(const char *path, bool compat, struct target *ret_target)
{
        g_auto(GStrv) segments = NULL;
        struct target target = {};
        const char *version;
        guint head, n;

        assert(path && *path == '/' && ret_target);
        segments = g_strsplit(path + 1, "/", SEGMENTS_MAX);
        n = g_strv_length(segments);
        head = n > 0 && strcmp(segments[0], "api") == 0 ? 2 : n > 0 && strcmp(segments[0], "apis") == 0 ? 3 : 0;
        if (head == 0 || n <= head)
                return TARGET_E_OTHER;
        version = segments[head - 1];
        /* The short host API lives below /api/ too: only /api/v1 is the core group. */
        if (head == 2 && strcmp(version, "v1") != 0)
                return TARGET_E_OTHER;
        target.group = g_strdup(head == 3 ? segments[1] : "");
        target.api_version = head == 3 ? g_strconcat(segments[1], "/", version, NULL) : g_strdup(version);
        if (n >= SEGMENTS_MAX || !no_empty_segment(segments) || !take_resource(&target, version, segments + head, compat)) {
                target_clear(&target);
                return TARGET_E_UNKNOWN;
        }
        *ret_target = target;
        return 0;
}
