/* SPDX-License-Identifier: Apache-2.0 */
#include "base/quantity.h"
#include "cli/cli.h"
#include "generated/api_types.h"
#include "schema/change_way.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Change the size of a machine, the link of an interface, or the disc in its drive: what comes how is told before it is written, by
 * the table that the controller reads. */

struct wish {
        int cores, grace_s;
        char *memory, *fraction, *nic, *link, *disc;
        gboolean eject, live, restart, dry_run, wait;
        int timeout_s;
};

/* One field that is asked for. */
struct row {
        const char *path;
        struct json_value *desired;
        const struct json_value *current;
        enum change_way way;
        const char *words;
        bool same;
};
#define ROWS 6

struct plan {
        struct json_doc *doc; /* of the patch */
        bool runs;
        struct change_machine machine;
        struct row rows[ROWS];
        size_t n;
        bool restart;                        /* something of it waits for one */
        struct json_value *networks, *disks; /* as they shall be, when a link or a disc is changed */
        const char *revision;                /* that they were read at */
};

/* --- what is there --- */

static uint64_t mib_of(const char *size)
{
        uint64_t bytes = 0;

        return size && quantity_parse_bytes(size, &bytes) == 0 ? (bytes + (1u << 20) - 1) >> 20 : 0;
}

static int64_t number_of(const struct json_value *value, int64_t otherwise)
{
        int64_t number;

        return json_int64(value, &number) == 0 ? number : otherwise;
}

static void learn(struct plan *plan, const struct json_value *machine, const struct wish *wish)
{
        static const char *const on[] = {"Running", "Pause", "Starting", "Migrating", NULL};
        const struct json_value *has = json_find(machine, "status", "resources", NULL);
        const char *phase = json_find_string(machine, "status", "phase", NULL);
        const char *mode = json_find_string(machine, "spec", "disruptions", "applyMode", NULL);
        struct change_machine *now = &plan->machine;
        uint64_t least;

        plan->runs = phase && g_strv_contains(on, phase);
        now->live = wish->live || g_strcmp0(mode, "Live") == 0;
        now->cores = number_of(json_find(has, "cpu", "cores", NULL), 0);
        now->cores_most = number_of(json_find(has, "cpu", "maxCores", NULL), now->cores);
        now->memory_mib = mib_of(json_find_string(has, "memory", "size", NULL));
        now->memory_full_mib = MAX(mib_of(json_find_string(has, "memory", "reservedSize", NULL)), now->memory_mib);
        now->memory_most_mib = MAX(mib_of(json_find_string(has, "memory", "maxSize", NULL)), now->memory_full_mib);
        least = mib_of(json_find_string(has, "memory", "minSize", NULL));
        /* One that does not apply changes live yet does not tell. */
        now->memory_least_mib = least ? least : wish->live ? change_memory_least(now->memory_full_mib) : now->memory_full_mib;
}

/* --- the plan --- */

/* What the machine has of it now: of one that runs, or what is written. */
static const struct json_value *current_of(const struct plan *plan, const struct json_value *machine, const char *path)
{
        const struct {
                const char *path;
                const struct json_value *runs, *written;
        } fields[] = {
                {"cpu.cores", json_find(machine, "status", "resources", "cpu", "cores", NULL),
                 json_find(machine, "spec", "cpu", "cores", NULL)},
                {"cpu.coreFraction", json_find(machine, "status", "resources", "cpu", "coreFraction", NULL),
                 json_find(machine, "spec", "cpu", "coreFraction", NULL)},
                {"memory.size", json_find(machine, "status", "resources", "memory", "size", NULL),
                 json_find(machine, "spec", "memory", "size", NULL)},
                {"terminationGracePeriodSeconds", NULL, json_find(machine, "spec", "terminationGracePeriodSeconds", NULL)},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
                if (g_str_equal(fields[i].path, path))
                        return plan->runs && fields[i].runs ? fields[i].runs : fields[i].written;
        return NULL;
}

static void plan_field(struct plan *plan, const struct json_value *machine, const char *path, struct json_value *desired)
{
        struct row row = {.path = path, .desired = desired, .current = current_of(plan, machine, path)};

        row.same = change_equal(path, row.current, desired);
        row.way = plan->runs ? change_judge(&plan->machine, path, row.current, desired, &row.words) : CHANGE_RESTART;
        plan->restart |= plan->runs && !row.same && row.way == CHANGE_RESTART;
        plan->rows[plan->n++] = row;
}

/* --- links --- */

/* Whether @nic is how people call the interface: its network, its number, its address. */
static bool is_called(const struct json_value *entry, const struct json_value *status, const char *nic)
{
        const struct json_value *number = json_get(status, "id") ?: json_get(entry, "id");
        const char *name = json_find_string(entry, "name", NULL) ?: json_find_string(entry, "type", NULL),
                   *text = json_number_text(number);

        return g_ascii_strcasecmp(name ?: "", nic) == 0 || g_strcmp0(text, nic) == 0 ||
               g_ascii_strcasecmp(json_find_string(status, "macAddress", NULL) ?: "", nic) == 0;
}

/* A merge patch replaces a list as a whole: it is as it was read, with one link changed. */
static int plan_link(struct plan *plan, const struct json_value *machine, const struct wish *wish)
{
        const struct json_value *written = json_find(machine, "spec", "networks", NULL);
        const struct json_value *status = json_first(json_find(machine, "status", "networks", NULL));
        const char *state = g_ascii_strcasecmp(wish->link, "up") == 0 ? "Up" : "Down", *now = NULL;
        struct json_value *entry, *found = NULL;
        struct row row;

        plan->networks = written ? json_copy(plan->doc, written) : json_new(plan->doc, JSON_ARRAY);
        plan->revision = json_find_string(machine, "metadata", "resourceVersion", NULL);
        if (!json_first(plan->networks)) {
                entry = json_new(plan->doc, JSON_OBJECT);
                json_set_string(plan->doc, entry, "type", "Main");
                json_append(plan->networks, entry);
        }
        for (entry = json_first(plan->networks); entry; entry = json_next(entry), status = status ? json_next(status) : NULL) {
                if (wish->nic ? !is_called(entry, status, wish->nic) : json_length(plan->networks) > 1)
                        continue;
                if (found)
                        return cli_usage("%s has several interfaces to %s; --nic takes a number or a MAC address, too",
                                         json_find_string(machine, "metadata", "name", NULL), wish->nic);
                found = entry;
                now = plan->runs ? json_find_string(status, "linkState", NULL) : NULL;
                now = now ?: json_find_string(entry, "linkState", NULL) ?: "Up";
        }
        if (!found)
                return wish->nic ? cli_usage("%s has no interface %s; --nic takes a network, a number or a MAC address of "
                                             "status.networks",
                                             json_find_string(machine, "metadata", "name", NULL), wish->nic)
                                 : cli_usage("which one? --nic NETWORK, a number or a MAC address of status.networks");
        json_set_string(plan->doc, found, "linkState", state);
        row = (struct row){.path = "networks.linkState",
                           .desired = json_new_string(plan->doc, state),
                           .current = json_new_string(plan->doc, now),
                           .way = CHANGE_LIVE,
                           .same = strcmp(now, state) == 0};
        plan->rows[plan->n++] = row;
        return CLI_OK;
}

/* --- discs --- */

/* Return: the image that @disc names ("tools", "vi/tools", "cvi/tools"), as a reference; NULL after telling that it names none. */
static struct json_value *disc_ref(struct json_doc *doc, const char *disc)
{
        const char *slash = strchr(disc, '/'), *name = slash ? slash + 1 : disc;
        g_autofree char *word = slash ? g_strndup(disc, (size_t)(slash - disc)) : NULL;
        const struct schema_kind *kind = word ? cli_kind(word) : &api_virtual_image_kind;
        struct json_value *ref;

        if (!kind)
                return NULL;
        if ((kind != &api_virtual_image_kind && kind != &api_cluster_virtual_image_kind) || !*name || strchr(name, '/')) {
                cli_usage("%s is no image; for example --disc tools or --disc cvi/tools", disc);
                return NULL;
        }
        ref = json_new(doc, JSON_OBJECT);
        json_set_string(doc, ref, "kind", kind->kind);
        json_set_string(doc, ref, "name", name);
        return ref;
}

static bool is_image(const struct json_value *ref)
{
        const char *kind = json_find_string(ref, "kind", NULL);

        return g_strcmp0(kind, api_virtual_image_kind.kind) == 0 || g_strcmp0(kind, api_cluster_virtual_image_kind.kind) == 0;
}

/* The other image stands where the one before it stood: the order is that of booting. */
static int plan_disc(struct plan *plan, const struct json_value *machine, const struct wish *wish)
{
        const char *name = json_find_string(machine, "metadata", "name", NULL);
        struct json_value *ref = wish->disc ? disc_ref(plan->doc, wish->disc) : NULL;
        const struct json_value *now = NULL;
        struct row row = {.path = "blockDeviceRefs", .way = plan->machine.live ? CHANGE_LIVE : CHANGE_RESTART};

        if (wish->disc && !ref)
                return CLI_USAGE;
        plan->disks = json_new(plan->doc, JSON_ARRAY);
        plan->revision = json_find_string(machine, "metadata", "resourceVersion", NULL);
        for (const struct json_value *old = json_first(json_find(machine, "spec", "blockDeviceRefs", NULL)); old;
             old = json_next(old)) {
                if (is_image(old) && now)
                        return cli_usage("%s has several images; change spec.blockDeviceRefs: gabbro get vm %s -o yaml", name,
                                         name);
                if (!is_image(old) || ref)
                        json_append(plan->disks, json_copy(plan->doc, is_image(old) ? ref : old));
                now = is_image(old) ? old : now;
        }
        if (!now && !ref)
                return cli_usage("%s has no disc", name);
        if (!now)
                json_append(plan->disks, json_copy(plan->doc, ref));
        row.desired = ref ? json_get(ref, "name") : json_new_string(plan->doc, "");
        row.current = json_get(now, "name");
        row.same = now && ref && json_equal(now, ref);
        row.words = row.way == CHANGE_RESTART && plan->runs ? "--live exchanges it while the machine runs" : NULL;
        plan->restart |= plan->runs && !row.same && row.way == CHANGE_RESTART;
        plan->rows[plan->n++] = row;
        return CLI_OK;
}

static int make_plan(struct plan *plan, const struct json_value *machine, const struct wish *wish)
{
        learn(plan, machine, wish);
        if (wish->cores > 0)
                plan_field(plan, machine, "cpu.cores", json_new_int(plan->doc, wish->cores));
        if (wish->fraction)
                plan_field(plan, machine, "cpu.coreFraction", json_new_string(plan->doc, wish->fraction));
        if (wish->memory)
                plan_field(plan, machine, "memory.size", json_new_string(plan->doc, wish->memory));
        if (wish->grace_s >= 0)
                plan_field(plan, machine, "terminationGracePeriodSeconds", json_new_int(plan->doc, wish->grace_s));
        if (wish->link) {
                int code = plan_link(plan, machine, wish);

                if (code != CLI_OK)
                        return code;
        }
        return wish->disc || wish->eject ? plan_disc(plan, machine, wish) : CLI_OK;
}

static char *value_text(const struct json_value *value)
{
        const char *text = json_string(value, NULL);

        return text ? g_strdup(text) : value ? json_to_text(value) : g_strdup("");
}

static const char *how(const struct plan *plan, const struct row *row, const struct wish *wish)
{
        if (row->same)
                return "as it is";
        if (!plan->runs)
                return "with the next start";
        if (row->way == CHANGE_RESTART && wish->restart)
                return "by a restart, now";
        return change_way_words(row->way);
}

static void print_plan(const struct plan *plan, const struct wish *wish)
{
        struct cli_table *table = cli_table_new();

        cli_table_add(table, (const char *const[]){"FIELD", "NOW", "WANTED", "COMES", "WHY", NULL});
        for (size_t i = 0; i < plan->n; i++) {
                const struct row *row = &plan->rows[i];
                g_autofree char *path = g_strconcat("spec.", row->path, NULL), *now = value_text(row->current),
                                *wanted = value_text(row->desired);

                cli_table_add(table, (const char *const[]){path, now, wanted, how(plan, row, wish), row->words ?: "", NULL});
        }
        cli_table_print(table);
        cli_table_free(table);
}

/* --- writing --- */

static char *patch_text(const struct plan *plan, const struct wish *wish)
{
        struct json_value *root = json_new(plan->doc, JSON_OBJECT), *spec = json_ensure_object(plan->doc, root, "spec");

        for (size_t i = 0; i < plan->n; i++) {
                g_auto(GStrv) parts = g_strsplit(plan->rows[i].path, ".", 2);
                struct json_value *object;

                if (g_str_equal(parts[0], "networks") || g_str_equal(parts[0], "blockDeviceRefs"))
                        continue;
                object = parts[1] ? json_ensure_object(plan->doc, spec, parts[0]) : spec;

                json_set(plan->doc, object, parts[1] ?: parts[0], json_copy(plan->doc, plan->rows[i].desired));
        }
        if (plan->networks)
                json_set(plan->doc, spec, "networks", plan->networks);
        if (plan->disks)
                json_set(plan->doc, spec, "blockDeviceRefs", plan->disks);
        if (plan->revision)
                json_set_string(plan->doc, json_ensure_object(plan->doc, root, "metadata"), "resourceVersion", plan->revision);
        if (wish->live)
                json_set_string(plan->doc, json_ensure_object(plan->doc, spec, "disruptions"), "applyMode", "Live");
        return json_to_text(root);
}

static int write_patch(struct cli *cli, const char *path, const struct plan *plan, const struct wish *wish)
{
        g_autofree char *text = patch_text(plan, wish), *target = g_strconcat(path, wish->dry_run ? "?dryRun=All" : "", NULL);
        struct cli_request request = {.method = "PATCH",
                                      .path = target,
                                      .content_type = "application/merge-patch+json",
                                      .body = text,
                                      .len = strlen(text)};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &request, &reply);

        cli_reply_clear(&reply);
        return code;
}

static int set_machine(struct cli *cli, const char *name, const struct wish *wish)
{
        g_autofree char *path = cli_path(cli, &api_virtual_machine_kind, name);
        g_autoptr(json_doc) doc = json_doc_new();
        struct plan plan = {.doc = doc};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &(struct cli_request){.path = path}, &reply);

        if (code == CLI_OK) {
                code = make_plan(&plan, json_root(reply.doc), wish);
                code = code == CLI_OK ? write_patch(cli, path, &plan, wish) : code;
        }
        if (code == CLI_OK)
                print_plan(&plan, wish);
        cli_reply_clear(&reply);
        if (code != CLI_OK)
                return code;
        if (wish->dry_run) {
                cli_say("virtualmachine/%s would be changed (dry run)", name);
                return CLI_OK;
        }
        cli_say("virtualmachine/%s changed", name);
        if (plan.restart && !wish->restart)
                cli_hint("gabbro restart %s applies what waits for it", name);
        if (plan.restart && wish->restart)
                return cli_restart_machine(cli, name, wish->wait ? wish->timeout_s : 0);
        /* What waits for a restart is not waited for. */
        if (wish->wait && plan.runs && !plan.restart)
                return cli_wait_for(cli, &api_virtual_machine_kind, name, "condition=ConfigurationApplied",
                                    (uint64_t)wish->timeout_s * 1000000, false);
        return CLI_OK;
}

int cli_set(struct cli *cli, int argc, char **argv)
{
        struct wish wish = {.grace_s = -1, .timeout_s = 60};
        const GOptionEntry entries[] = {
                {"cores", 0, 0, G_OPTION_ARG_INT, &wish.cores, "Virtual cores", "NUMBER"},
                {"memory", 0, 0, G_OPTION_ARG_STRING, &wish.memory, "Memory of the guest, for example 4Gi", "SIZE"},
                {"core-fraction", 0, 0, G_OPTION_ARG_STRING, &wish.fraction, "Guaranteed share of each core, for example 20%",
                 "PERCENT"},
                {"grace-period", 0, 0, G_OPTION_ARG_INT, &wish.grace_s, "How long the guest may take to shut down", "SECONDS"},
                {"link", 0, 0, G_OPTION_ARG_STRING, &wish.link, "Cable of an interface: up or down", "STATE"},
                {"nic", 0, 0, G_OPTION_ARG_STRING, &wish.nic, "Which one: its network (Main), number or MAC address", "INTERFACE"},
                {"disc", 0, 0, G_OPTION_ARG_STRING, &wish.disc,
                 "Image for its CD drive, in place of the one there: tools, cvi/tools", "IMAGE"},
                {"eject", 0, 0, G_OPTION_ARG_NONE, &wish.eject, "Take the disc out of its CD drive", NULL},
                {"live", 0, 0, G_OPTION_ARG_NONE, &wish.live, "From now on what can be applied while it runs is (applyMode: Live)",
                 NULL},
                {"restart", 0, 0, G_OPTION_ARG_NONE, &wish.restart, "Restart it now when something waits for that", NULL},
                {"dry-run", 0, 0, G_OPTION_ARG_NONE, &wish.dry_run, "Tell what would come how, change nothing", NULL},
                {"wait", 0, 0, G_OPTION_ARG_NONE, &wish.wait, "Wait until the machine has it", NULL},
                {"timeout", 0, 0, G_OPTION_ARG_INT, &wish.timeout_s, "How long to wait (60)", "SECONDS"},
                {},
        };
        int code = cli_parse(cli, "set", entries,
                             "Tells of each field how it comes: at once, live or by a restart; gabbro explain change tells of all\n"
                             "fields. One that is off takes them with its next start.\n"
                             "\n"
                             "Examples:\n"
                             "  gabbro set vm web --cores 4 --memory 4Gi --dry-run\n"
                             "  gabbro set vm web --cores 4 --live --wait\n"
                             "  gabbro set vm web --memory 2Gi --restart\n"
                             "  gabbro set vm web --nic backend --link down\n"
                             "  gabbro set vm web --disc drivers --wait",
                             &argc, &argv);
        g_autofree char *memory = wish.memory, *fraction = wish.fraction, *nic = wish.nic, *link = wish.link, *disc = wish.disc;
        g_autoptr(GArray) targets = code == CLI_OK ? cli_targets(argc, argv, "set") : NULL;

        if (code != CLI_OK || !targets)
                return CLI_USAGE;
        if (wish.cores < 0 || wish.timeout_s <= 0 ||
            (wish.cores == 0 && !memory && !fraction && wish.grace_s < 0 && !wish.live && !link && !disc && !wish.eject))
                return cli_usage("what? for example gabbro set vm web --cores 4 --memory 4Gi");
        if (disc && wish.eject)
                return cli_usage("--disc puts one in the place of the other; --eject takes it out: one of the two");
        if ((nic && !link) || (link && g_ascii_strcasecmp(link, "up") != 0 && g_ascii_strcasecmp(link, "down") != 0))
                return cli_usage("a link is up or down: gabbro set vm web --nic Main --link down");
        for (guint i = 0; i < targets->len; i++)
                if (g_array_index(targets, struct cli_target, i).kind != &api_virtual_machine_kind)
                        return cli_usage("only machines are set: gabbro set vm NAME --cores 4");
        for (guint i = 0; i < targets->len && code != CLI_UNREACHABLE; i++) {
                int r = set_machine(cli, g_array_index(targets, struct cli_target, i).name, &wish);

                code = code == CLI_OK || r == CLI_UNREACHABLE ? r : code;
        }
        return code;
}
