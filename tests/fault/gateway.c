/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"
#include "fault.h"
#include "store/driver.h"

#include <glib.h>

/* gabbro-gateway with a plan of faults at each commit of its store: a driver that wraps the ordinary one. */
struct faulty {
        struct driver driver; /* first */
        struct driver_ops ops;
        struct driver *inner;
};

static struct driver *inner_of(struct driver *driver)
{
        return ((struct faulty *)driver)->inner;
}

/* What a commit is of, without what goes on by itself all the time: "create-instances", "update-nodes", or "idle". */
static char *name_of(const struct commit *commit)
{
        static const char *const verbs[] = {[STORE_CREATE] = "create", [STORE_UPDATE] = "update", [STORE_DELETE] = "delete"};
        static const char *const idle[] = {"leases", "events", "nodes", NULL};

        for (size_t i = 0; i < commit->n_rows; i++) {
                const struct row *row = &commit->rows[i];
                const struct schema_kind *kind = store_key_kind(row->object->public.key);

                if (kind && !g_strv_contains(idle, kind->plural)) {
                        return g_strdup_printf("%s-%s", verbs[row->verb], kind->plural);
                }
        }
        return g_strdup("idle");
}

static int pass_commits(struct commit *const *commits, size_t n_commits, const char *place)
{
        int r = 0;

        for (size_t i = 0; !r && i < n_commits; i++) {
                g_autofree char *name = name_of(commits[i]);

                r = steps_pass(fault_plan(), "store", name, place);
        }
        return r;
}

static int persist(struct driver *driver, struct commit *const *commits, size_t n_commits)
{
        int r = pass_commits(commits, n_commits, "before");

        if (!r) {
                r = inner_of(driver)->ops->persist(inner_of(driver), commits, n_commits);
        }
        return r ? r : pass_commits(commits, n_commits, "after");
}

static int settle(struct driver *driver)
{
        return inner_of(driver)->ops->settle(inner_of(driver));
}

static int load(struct driver *driver, const struct driver_loader *loader, struct driver_state *ret_state)
{
        return inner_of(driver)->ops->load(inner_of(driver), loader, ret_state);
}

static int fetch(struct driver *driver, uint64_t revision, int (*each)(const struct row_record *record, void *userdata),
                 void *userdata)
{
        return inner_of(driver)->ops->fetch(inner_of(driver), revision, each, userdata);
}

static int history(struct driver *driver, const struct history_query *query)
{
        return inner_of(driver)->ops->history(inner_of(driver), query);
}

static int compact(struct driver *driver, const struct retention *retention)
{
        int r = steps_pass(fault_plan(), "store", "compact", "before");

        return r ? r : inner_of(driver)->ops->compact(inner_of(driver), retention);
}

static const char *words(struct driver *driver)
{
        return inner_of(driver)->ops->words(inner_of(driver));
}

static struct driver *close_faulty(struct driver *driver)
{
        inner_of(driver)->ops->close(inner_of(driver));
        g_free(driver);
        return NULL;
}

static struct driver *wrap(struct driver *inner)
{
        struct faulty *faulty = g_new0(struct faulty, 1);

        *faulty = (struct faulty){.inner = inner,
                                  .ops = {.blocks = inner->ops->blocks,
                                          .persist = persist,
                                          .settle = inner->ops->settle ? settle : NULL,
                                          .load = load,
                                          .fetch = fetch,
                                          .history = history,
                                          .compact = compact,
                                          .words = words,
                                          .close = close_faulty}};
        faulty->driver.ops = &faulty->ops;
        return &faulty->driver;
}

int main(int argc, char **argv)
{
        static const struct gateway_parts parts = {.wrap_driver = wrap};

        (void)fault_plan();
        return gateway_main(argc, argv, &parts);
}
