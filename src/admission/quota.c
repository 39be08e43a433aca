/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/quota.h"

#include "admission/usage.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "loop/loop.h"
#include "schema/quota_names.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define STATUS_DELAY_US 50000ull   /* many changes are one status */
#define STATUS_AGAIN_US 1000000ull /* after one that could not be written */

struct limit {
        char *name;     /* as spec.hard has it */
        char *resource; /* what it counts */
        enum quota_unit unit;
        uint64_t hard;
};

/* One ResourceQuota. */
struct limits {
        char *name;
        GArray *list; /* struct limit */
};

/* A namespace that has a quota. */
struct project {
        char *namespace;
        GPtrArray *quotas; /* struct limits, by name */
        GHashTable *used;  /* resource -> int64_t; what is not used is not there */
        GHashTable *asked; /* while a transaction is judged: resource -> int64_t */
        bool stale;        /* its quotas' status may be behind */
};

struct quota {
        struct quota_options options;
        GHashTable *projects; /* namespace -> struct project */
        struct loop_source *timer;
        bool armed;
};

/* --- sums
 * --------------------------------------------------------------------------------------------------------------------------- */

static void limit_clear(void *data)
{
        struct limit *limit = data;

        g_free(limit->name);
        g_free(limit->resource);
}

static void limits_free(void *data)
{
        struct limits *limits = data;

        g_free(limits->name);
        g_array_unref(limits->list);
        g_free(limits);
}

static void project_free(void *data)
{
        struct project *project = data;

        g_free(project->namespace);
        g_ptr_array_unref(project->quotas);
        g_hash_table_unref(project->used);
        g_hash_table_unref(project->asked);
        g_free(project);
}

static GHashTable *sums_new(void)
{
        return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static int64_t sum_get(GHashTable *sums, const char *resource)
{
        const int64_t *sum = g_hash_table_lookup(sums, resource);

        return sum ? *sum : 0;
}

static void sum_add(GHashTable *sums, const char *resource, int64_t amount)
{
        int64_t *sum = g_hash_table_lookup(sums, resource);

        if (!sum) {
                sum = g_new0(int64_t, 1);
                g_hash_table_insert(sums, g_strdup(resource), sum);
        }
        /* More than this is in no cloud; a sum that stays within it never turns round. */
        *sum = CLAMP(*sum + CLAMP(amount, -(INT64_MAX / 4), INT64_MAX / 4), -(INT64_MAX / 4), INT64_MAX / 4);
        if (*sum == 0)
                g_hash_table_remove(sums, resource);
}

static void add_usage(const char *resource, uint64_t amount, void *sums)
{
        sum_add(sums, resource, (int64_t)MIN(amount, (uint64_t)INT64_MAX / 4));
}

static void take_usage(const char *resource, uint64_t amount, void *sums)
{
        sum_add(sums, resource, -(int64_t)MIN(amount, (uint64_t)INT64_MAX / 4));
}

static void add_change(GHashTable *sums, const struct store_change *change)
{
        if (change->before)
                usage_of(change->before, take_usage, sums);
        if (change->after)
                usage_of(change->after, add_usage, sums);
}

/* --- quotas of a project
 * ------------------------------------------------------------------------------------------------------------ */

static struct limits *limits_new(const struct store_object *object)
{
        struct limits *limits = g_new0(struct limits, 1);
        const struct json_value *hard = json_find(object->root, "spec", "hard", NULL);

        limits->name = g_strdup(object->name);
        limits->list = g_array_new(FALSE, TRUE, sizeof(struct limit));
        g_array_set_clear_func(limits->list, limit_clear);
        for (const struct json_value *value = json_first(hard); value; value = json_next(value)) {
                const char *text = json_string(value, json_number_text(value));
                struct limit limit = {};

                if (!text || !quota_name_parse(json_key(value), &limit.resource, &limit.unit))
                        continue; /* written by another version: it is not counted, and status.used says so by leaving it out */
                if (quota_amount_parse(limit.unit, text, &limit.hard) != 0) {
                        g_free(limit.resource);
                        continue;
                }
                limit.name = g_strdup(json_key(value));
                g_array_append_val(limits->list, limit);
        }
        return limits;
}

static void count_object(const struct store_object *object, void *userdata)
{
        struct project *project = userdata;

        usage_of(object, add_usage, project->used);
}

static struct project *project_new(struct quota *quota, const char *namespace)
{
        struct project *project = g_new0(struct project, 1);

        *project = (struct project){
                .namespace = g_strdup(namespace),
                .quotas = g_ptr_array_new_with_free_func(limits_free),
                .used = sums_new(),
                .asked = sums_new(),
        };
        store_each_newest(quota->options.store, namespace, count_object, project);
        g_hash_table_insert(quota->projects, project->namespace, project);
        return project;
}

static struct project *project_of(const struct quota *quota, const struct store_change *change)
{
        const struct store_object *object = change->after ?: change->before;

        return g_hash_table_lookup(quota->projects, object->namespace);
}

static void arm(struct quota *quota, struct project *project)
{
        project->stale = true;
        if (quota->timer && !quota->armed)
                loop_timer_set(quota->timer, STATUS_DELAY_US);
        quota->armed = true;
}

static bool find_quota(const struct project *project, const char *name, guint *ret_index)
{
        for (guint i = 0; i < project->quotas->len; i++) {
                *ret_index = i;
                if (strcmp(((const struct limits *)project->quotas->pdata[i])->name, name) == 0)
                        return true;
        }
        return false;
}

static void drop_quota(struct project *project, const char *name)
{
        guint index;

        if (find_quota(project, name, &index))
                g_ptr_array_remove_index(project->quotas, index);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
        return strcmp((*(const struct limits *const *)a)->name, (*(const struct limits *const *)b)->name);
}

static void put_quota(struct quota *quota, struct project *project, const struct store_object *object)
{
        drop_quota(project, object->name);
        g_ptr_array_add(project->quotas, limits_new(object));
        g_ptr_array_sort(project->quotas, by_name);
        arm(quota, project);
}

/* --- the guard
 * ---------------------------------------------------------------------------------------------------------------------- */

static bool guard_concerns(const struct schema_kind *kind, const char *namespace, void *userdata)
{
        const struct quota *quota = userdata;

        return namespace && (kind == &api_resource_quota_kind ||
                             (g_hash_table_size(quota->projects) > 0 && g_hash_table_contains(quota->projects, namespace)));
}

static void say(const struct limits *limits, const struct limit *limit, int64_t asked, int64_t used, struct schema_faults *faults)
{
        char asked_text[32], used_text[32], hard_text[32];

        schema_faults_add(faults, limit->name, REASON_QUOTA_EXCEEDED,
                          "exceeded quota: %s, requested: %s=%s, used: %s=%s, limited: %s=%s", limits->name, limit->name,
                          quota_amount_format(limit->unit, (uint64_t)asked, asked_text), limit->name,
                          quota_amount_format(limit->unit, (uint64_t)MAX(used, 0), used_text), limit->name,
                          quota_amount_format(limit->unit, limit->hard, hard_text));
}

static bool judge_project(struct project *project, struct schema_faults *faults)
{
        bool fits = true;

        for (guint q = 0; q < project->quotas->len; q++) {
                const struct limits *limits = project->quotas->pdata[q];

                for (guint i = 0; i < limits->list->len; i++) {
                        const struct limit *limit = &g_array_index(limits->list, struct limit, i);
                        int64_t asked = sum_get(project->asked, limit->resource), used = sum_get(project->used, limit->resource);

                        if (asked <= 0 || (uint64_t)MAX(used + asked, 0) <= limit->hard)
                                continue;
                        say(limits, limit, asked, used, faults);
                        fits = false;
                }
        }
        g_hash_table_remove_all(project->asked);
        return fits;
}

static bool guard_judge(const struct store_change *changes, size_t n, struct schema_faults *faults, void *userdata)
{
        struct quota *quota = userdata;
        struct project *project;
        bool fits = true;

        for (size_t i = 0; i < n; i++) {
                project = project_of(quota, &changes[i]);
                if (project)
                        add_change(project->asked, &changes[i]);
        }
        for (size_t i = 0; i < n; i++) {
                project = project_of(quota, &changes[i]);
                if (project && g_hash_table_size(project->asked) > 0)
                        fits &= judge_project(project, faults);
        }
        return fits;
}

static void guard_follow(const struct store_change *change, void *userdata)
{
        struct quota *quota = userdata;
        struct project *project = project_of(quota, change);
        const struct store_object *object = change->after ?: change->before;
        bool is_quota = object->kind == &api_resource_quota_kind;

        if (project) {
                add_change(project->used, change);
                arm(quota, project);
        } else if (is_quota && change->after) {
                project = project_new(quota, object->namespace); /* counts this one too */
        }
        if (!is_quota || !project)
                return;
        if (change->after)
                put_quota(quota, project, change->after);
        else
                drop_quota(project, object->name);
        if (project->quotas->len == 0)
                g_hash_table_remove(quota->projects, object->namespace);
}

static bool learn(const struct store_object *object, void *userdata)
{
        struct quota *quota = userdata;
        struct project *project = g_hash_table_lookup(quota->projects, object->namespace);

        put_quota(quota, project ?: project_new(quota, object->namespace), object);
        return true;
}

/* The newest state is the published one. */
static void guard_reset(void *userdata)
{
        struct quota *quota = userdata;

        g_hash_table_remove_all(quota->projects);
        store_list(quota->options.store, &api_resource_quota_kind, NULL, NULL, learn, quota);
}

/* --- status
 * ------------------------------------------------------------------------------------------------------------------------- */

static void set_status(struct json_doc *doc, const struct project *project, const struct limits *limits)
{
        struct json_value *status = json_ensure_object(doc, json_root(doc), "status");
        const struct json_value *hard = json_find(json_root(doc), "spec", "hard", NULL);
        struct json_value *used = json_new(doc, JSON_OBJECT);
        char text[32];

        for (guint i = 0; i < limits->list->len; i++) {
                const struct limit *limit = &g_array_index(limits->list, struct limit, i);
                int64_t sum = sum_get(project->used, limit->resource);

                json_set_string(doc, used, limit->name, quota_amount_format(limit->unit, (uint64_t)MAX(sum, 0), text));
        }
        json_set(doc, status, "hard", hard ? json_copy(doc, hard) : json_new(doc, JSON_OBJECT));
        json_set(doc, status, "used", used);
}

/* 0: nothing to write, or accepted; else an outcome. */
static int write_status(struct quota *quota, const struct project *project, const struct limits *limits, bool *wrote)
{
        autostoreobject object = store_get_newest(quota->options.store, &api_resource_quota_kind, project->namespace, limits->name);
        struct store_op op = {.verb = STORE_UPDATE, .kind = &api_resource_quota_kind, .namespace = project->namespace};
        struct store_txn txn = {
                .ops = &op, .n_ops = 1, .actor = {.user = "controller/quota", .client = "controller/quota", .verb = "update"}};
        g_autoptr(json_doc) doc = json_doc_new();

        if (!object)
                return 0;
        json_set_root(doc, json_copy(doc, object->root));
        set_status(doc, project, limits);
        if (json_equal(json_get(json_root(doc), "status"), json_get(object->root, "status")))
                return 0;
        op.name = object->name;
        op.expect_revision = object->revision;
        op.doc = g_steal_pointer(&doc);
        *wrote = true;
        return store_commit(quota->options.store, &txn, NULL, NULL, NULL);
}

/* Writing tells the guard of it, which changes the tables: their names are gathered first. */
static bool write_project(struct quota *quota, struct project *project, bool *wrote)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        guint index;
        int r = 0;

        for (guint i = 0; i < project->quotas->len; i++)
                g_ptr_array_add(names, g_strdup(((const struct limits *)project->quotas->pdata[i])->name));
        for (guint i = 0; i < names->len && r == 0; i++)
                if (find_quota(project, names->pdata[i], &index))
                        r = write_status(quota, project, project->quotas->pdata[index], wrote);
        project->stale = r != 0;
        return r == 0;
}

bool quota_step(struct quota *quota)
{
        g_autoptr(GPtrArray) stale = g_ptr_array_new();
        struct project *project;
        GHashTableIter iter;
        bool wrote = false, all = true;

        assert(quota);
        g_hash_table_iter_init(&iter, quota->projects);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&project))
                if (project->stale)
                        g_ptr_array_add(stale, project);
        for (guint i = 0; i < stale->len; i++)
                all &= write_project(quota, stale->pdata[i], &wrote);
        quota->armed = !all;
        if (!all && quota->timer)
                loop_timer_set(quota->timer, STATUS_AGAIN_US);
        return wrote;
}

static void on_timer(struct loop_source *source, void *userdata)
{
        quota_step(userdata);
}

/* --- life
 * --------------------------------------------------------------------------------------------------------------------------- */

uint64_t quota_left(const struct quota *quota, const char *namespace, const char *resource, const char **ret_name)
{
        const struct project *project;
        uint64_t left = UINT64_MAX;

        assert(quota && resource && ret_name);
        *ret_name = NULL;
        project = namespace ? g_hash_table_lookup(quota->projects, namespace) : NULL;
        if (!project)
                return left;
        for (guint q = 0; q < project->quotas->len; q++) {
                const struct limits *limits = project->quotas->pdata[q];

                for (guint i = 0; i < limits->list->len; i++) {
                        const struct limit *limit = &g_array_index(limits->list, struct limit, i);
                        uint64_t used = (uint64_t)MAX(sum_get(project->used, limit->resource), 0);
                        uint64_t room = limit->hard > used ? limit->hard - used : 0;

                        if (strcmp(limit->resource, resource) != 0 || room >= left)
                                continue;
                        left = room;
                        *ret_name = limits->name;
                }
        }
        return left;
}

int quota_new(const struct quota_options *options, struct quota **ret_quota)
{
        g_autoptr(quota) quota = g_new0(struct quota, 1);
        int r;

        assert(options && options->store && options->clock && ret_quota);
        quota->options = *options;
        quota->projects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, project_free);
        if (options->loop) {
                r = loop_timer(options->loop, UINT64_MAX, on_timer, quota, &quota->timer);
                if (r < 0)
                        return r;
        }
        store_set_guard(options->store, &(struct store_guard){.concerns = guard_concerns,
                                                              .judge = guard_judge,
                                                              .follow = guard_follow,
                                                              .reset = guard_reset,
                                                              .userdata = quota});
        guard_reset(quota);
        *ret_quota = g_steal_pointer(&quota);
        return 0;
}

struct quota *quota_free(struct quota *quota)
{
        if (!quota)
                return NULL;
        if (quota->options.store)
                store_set_guard(quota->options.store, NULL);
        loop_source_free(quota->timer);
        g_hash_table_unref(quota->projects);
        g_free(quota);
        return NULL;
}
