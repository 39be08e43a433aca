/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/cli.h"
#include "generated/api_types.h"

#include <stdio.h>
#include <string.h>

#define PLAN_DIGITS 16

struct pool_options {
        gboolean with_disks;
        char *plan;
        int timeout_s;
};

/* --- changes of the pool itself
 * -------------------------------------------------------------------------------------------------------- */

static int patch_pool(struct cli *cli, const char *name, const struct json_value *body, const char *done)
{
        g_autofree char *path = cli_path(cli, &api_storage_pool_kind, name), *text = json_to_text(body);
        struct cli_request request = {
                .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = text, .len = strlen(text)};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &request, &reply);

        if (code == CLI_OK)
                cli_say("storagepool/%s %s", name, done);
        cli_reply_clear(&reply);
        return code;
}

static int set_drain(struct cli *cli, const char *name, bool drain)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_bool(doc, json_ensure_object(doc, root, "spec"), "drain", drain);
        return patch_pool(cli, name, root, drain ? "takes no new disks" : "takes new disks");
}

static int drain(struct cli *cli, const char *name, const struct pool_options *options)
{
        return set_drain(cli, name, true);
}

static int resume(struct cli *cli, const char *name, const struct pool_options *options)
{
        return set_drain(cli, name, false);
}

/* --- waiting for what its status says
 * -------------------------------------------------------------------------------------------------- */

struct awaited {
        const char *name;
        const char *refreshed; /* NULL: that it is empty */
        bool gone;
};

static bool look(const char *type, struct json_value *object, void *userdata)
{
        struct awaited *awaited = userdata;
        const struct json_value *status = json_get(object, "status");
        int64_t disks = -1, volumes = -1;

        if (g_strcmp0(json_find_string(object, "metadata", "name", NULL), awaited->name) != 0)
                return true;
        if (g_str_equal(type, "DELETED")) {
                awaited->gone = true;
                return false;
        }
        if (awaited->refreshed)
                return g_strcmp0(json_find_string(status, "refreshed", NULL), awaited->refreshed) != 0;
        (void)json_int64(json_get(status, "disks"), &disks);
        (void)json_int64(json_get(status, "volumes"), &volumes);
        return disks != 0 || volumes != 0;
}

static int await(struct cli *cli, struct awaited *awaited, uint64_t timeout_us)
{
        g_autofree char *path = cli_path(cli, &api_storage_pool_kind, NULL);
        struct cli_watch watch = {.path = path, .timeout_us = timeout_us, .each = look, .userdata = awaited};
        int code = cli_watch(cli, &watch);

        g_free(watch.resource_version);
        if (code == CLI_OK && awaited->gone) {
                cli_error("storagepool/%s is gone", awaited->name);
                return CLI_NOT_FOUND;
        }
        if (code == CLI_TIMEOUT)
                cli_error("storagepool/%s: time is up; %s", awaited->name,
                          awaited->refreshed ? "a node has not looked at it again yet" : "it still holds something");
        return code;
}

static int refresh(struct cli *cli, const char *name, const struct pool_options *options)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        char now[CLOCK_RFC3339_MAX];
        struct awaited awaited = {.name = name};

        awaited.refreshed = clock_format_rfc3339(clock_real_us(clock_system()), true, now);
        json_set_string(doc, json_ensure_object(doc, json_ensure_object(doc, root, "metadata"), "annotations"),
                        "storagepool.gabbro.dev/refresh", now);
        int code = patch_pool(cli, name, root, "is looked at again");
        return code == CLI_OK ? await(cli, &awaited, (uint64_t)options->timeout_s * 1000000) : code;
}

/* --- deletion by a plan
 * ---------------------------------------------------------------------------------------------------------------- */

/* Disks of the pool, in the order of the list; borrowed from @list. */
static GPtrArray *disks_in(const struct json_value *list, const char *pool)
{
        GPtrArray *disks = g_ptr_array_new();

        for (const struct json_value *disk = json_first(json_get(list, "items")); disk; disk = json_next(disk))
                if (g_strcmp0(json_find_string(disk, "status", "storageClassName", NULL), pool) == 0)
                        g_ptr_array_add(disks, (void *)disk);
        return disks;
}

/* The plan's name is of what it deletes: another disk makes another plan. */
static char *plan_name(const GPtrArray *disks)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

        for (guint i = 0; i < disks->len; i++) {
                const char *uid = json_find_string(disks->pdata[i], "metadata", "uid", NULL) ?: "";

                g_checksum_update(sum, (const guchar *)uid, -1);
                g_checksum_update(sum, (const guchar *)"\n", 1);
        }
        return g_strndup(g_checksum_get_string(sum), PLAN_DIGITS);
}

static const char *user_of(const struct json_value *disk)
{
        for (const struct json_value *c = json_first(json_find(disk, "status", "conditions", NULL)); c; c = json_next(c))
                if (g_strcmp0(json_find_string(c, "type", NULL), "InUse") == 0 &&
                    g_strcmp0(json_find_string(c, "status", NULL), "True") == 0)
                        return json_find_string(c, "message", NULL) ?: "a machine has it";
        return NULL;
}

/* Shows it; the number of disks that are in use. */
static unsigned show_plan(const char *name, const GPtrArray *disks)
{
        struct cli_table *table = cli_table_new();
        unsigned used = 0;

        cli_table_add(table, (const char *const[]){"DISK", "CAPACITY", "IN USE", NULL});
        for (guint i = 0; i < disks->len; i++) {
                const struct json_value *disk = disks->pdata[i];
                g_autofree char *full = g_strdup_printf("%s/%s", json_find_string(disk, "metadata", "namespace", NULL),
                                                        json_find_string(disk, "metadata", "name", NULL));
                const char *user = user_of(disk);

                used += user != NULL;
                cli_table_add(table, (const char *const[]){full, json_find_string(disk, "status", "capacity", NULL) ?: "",
                                                           user ?: "no", NULL});
        }
        if (disks->len > 0)
                cli_table_print(table);
        cli_table_free(table);
        cli_note("storagepool/%s and %u disks with all their content are deleted by this plan", name, disks->len);
        return used;
}

static int delete_disk(struct cli *cli, const struct json_value *disk)
{
        const char *namespace = json_find_string(disk, "metadata", "namespace", NULL);
        const char *name = json_find_string(disk, "metadata", "name", NULL);
        g_autofree char *path = cli_path_in(&api_virtual_disk_kind, namespace, name), *text = NULL;
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        struct cli_reply reply = {};

        json_set_string(doc, json_ensure_object(doc, root, "preconditions"), "uid",
                        json_find_string(disk, "metadata", "uid", NULL));
        text = json_to_text(root);
        struct cli_request request = {.method = "DELETE", .path = path, .body = text, .len = strlen(text)};
        int code = cli_call(cli, &request, &reply);
        if (code == CLI_OK && reply.status != 404 && reply.status / 100 != 2)
                code = cli_tell_status(&reply);
        else if (code == CLI_OK)
                cli_say("virtualdisk/%s of %s is being deleted", name, namespace);
        cli_reply_clear(&reply);
        return code;
}

static int delete_pool(struct cli *cli, const char *name)
{
        g_autofree char *path = cli_path(cli, &api_storage_pool_kind, name);
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.method = "DELETE", .path = path}, &reply);

        cli_reply_clear(&reply);
        if (code == CLI_OK)
                cli_say("storagepool/%s deleted; its folders stay on the hosts", name);
        return code;
}

static int carry_out(struct cli *cli, const char *name, const GPtrArray *disks, const struct pool_options *options)
{
        struct awaited awaited = {.name = name};
        int code = set_drain(cli, name, true); /* nothing new comes in between */

        for (guint i = 0; i < disks->len && code == CLI_OK; i++)
                code = delete_disk(cli, disks->pdata[i]);
        if (code == CLI_OK)
                code = await(cli, &awaited, (uint64_t)options->timeout_s * 1000000);
        return code == CLI_OK ? delete_pool(cli, name) : code;
}

static int delete_by_plan(struct cli *cli, const char *name, const struct json_value *list, const struct pool_options *options)
{
        g_autoptr(GPtrArray) disks = disks_in(list, name);
        g_autofree char *plan = plan_name(disks);

        if (options->plan && !g_str_equal(options->plan, plan)) {
                cli_error("the disks of storagepool/%s are not those of plan %s any more; look at the new plan", name,
                          options->plan);
                return CLI_FAILED;
        }
        if (show_plan(name, disks) > 0) {
                cli_error("disks in use are never deleted: stop their machines first");
                return CLI_FAILED;
        }
        if (options->plan)
                return carry_out(cli, name, disks, options);
        cli_say("gabbro pool delete %s --with-disks --plan %s", name, plan);
        return CLI_OK;
}

static int pool_delete(struct cli *cli, const char *name, const struct pool_options *options)
{
        g_autofree char *pool = cli_path(cli, &api_storage_pool_kind, name);
        g_autofree char *path = cli_path_in(&api_virtual_disk_kind, NULL, NULL);
        struct cli_reply reply = {};

        if (!options->with_disks)
                return delete_pool(cli, name);
        int code = cli_expect(cli, &(struct cli_request){.path = pool}, &reply);
        cli_reply_clear(&reply);
        if (code == CLI_OK)
                code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);
        if (code == CLI_OK)
                code = delete_by_plan(cli, name, json_root(reply.doc), options);
        cli_reply_clear(&reply);
        return code;
}

int cli_pool(struct cli *cli, int argc, char **argv)
{
        static const struct {
                const char *word;
                int (*run)(struct cli *cli, const char *name, const struct pool_options *options);
        } words[] = {{"drain", drain}, {"resume", resume}, {"refresh", refresh}, {"delete", pool_delete}};
        struct pool_options options = {.timeout_s = 120};
        const GOptionEntry entries[] = {
                {"with-disks", 0, 0, G_OPTION_ARG_NONE, &options.with_disks, "delete: print the plan of what goes with the pool",
                 NULL},
                {"plan", 0, 0, G_OPTION_ARG_STRING, &options.plan, "delete: carry this plan out, if nothing has changed", "PLAN"},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &options.timeout_s, "How long to wait (120)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "pool", entries,
                             "drain: no new disks come into the pool; resume: they do again. refresh: every node looks at its\n"
                             "folder and its size again. delete: an empty pool goes at once; --with-disks prints what would go\n"
                             "with one that is not, and the command that carries just that out.\n"
                             "\n"
                             "Examples:\n"
                             "  gabbro pool drain fast\n"
                             "  gabbro pool refresh fast\n"
                             "  gabbro pool delete fast --with-disks",
                             &argc, &argv);

        if (code == CLI_OK && argc != 3)
                code = cli_usage("what? gabbro pool drain|resume|refresh|delete NAME");
        if (code == CLI_OK && (options.timeout_s <= 0 || (options.plan && !options.with_disks)))
                code = cli_usage(options.plan ? "--plan goes with --with-disks" : "--timeout takes seconds");
        for (size_t i = 0; code == CLI_OK && i < G_N_ELEMENTS(words); i++)
                if (g_str_equal(argv[1], words[i].word)) {
                        code = words[i].run(cli, argv[2], &options);
                        g_free(options.plan);
                        return code;
                }
        g_free(options.plan);
        return code == CLI_OK ? cli_usage("there is no gabbro pool %s; there are drain, resume, refresh and delete", argv[1])
                              : code;
}
