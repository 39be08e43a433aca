/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/controllers.h"

#include "base/limits.h"
#include "controllers/object.h"

#include <assert.h>

struct bootstrap {
        const struct clock *clock;
        const struct random_source *random;
        struct store_op ops[8];
        size_t n_ops;
};

/* Every object begins as text: this is an installation's first manifest. */
static struct json_value *begin(struct bootstrap *bootstrap, const struct schema_kind *kind, const char *name,
                                struct json_doc **ret_doc)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;
        g_autofree char *version = kind->group[0] ? g_strdup_printf("%s/%s", kind->group, kind->version) : g_strdup(kind->version);
        char uid[UUID_TEXT_MAX], time[CLOCK_RFC3339_MAX];

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", version);
        json_set_string(doc, root, "kind", kind->kind);
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, metadata, "uid", uuid_generate(bootstrap->random, uid));
        json_set_string(doc, metadata, "creationTimestamp", clock_format_rfc3339(clock_real_us(bootstrap->clock), false, time));
        json_set_int(doc, metadata, "generation", 1);
        *ret_doc = doc;
        return root;
}

static void end(struct bootstrap *bootstrap, const struct schema_kind *kind, const char *name, struct json_doc *doc)
{
        assert(bootstrap->n_ops < G_N_ELEMENTS(bootstrap->ops));

        schema_default(kind, doc, json_root(doc));
        bootstrap->ops[bootstrap->n_ops++] = (struct store_op){.verb = STORE_CREATE, .kind = kind, .name = name, .doc = doc};
}

static void add_namespace(struct bootstrap *bootstrap, const char *name)
{
        struct json_doc *doc;
        struct json_value *root = begin(bootstrap, &api_namespace_kind, name, &doc);

        json_set_string(doc, json_ensure_object(doc, root, "status"), "phase", "Active");
        end(bootstrap, &api_namespace_kind, name, doc);
}

static void add_network(struct bootstrap *bootstrap, const char *name, const char *cidr)
{
        struct json_doc *doc;
        struct json_value *root = begin(bootstrap, &api_network_kind, name, &doc), *spec;

        spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "cidr", cidr);
        json_set_bool(doc, spec, "default", true);
        end(bootstrap, &api_network_kind, name, doc);
}

static void add_pool(struct bootstrap *bootstrap, const char *name, const char *path)
{
        struct json_doc *doc;
        struct json_value *root = begin(bootstrap, &api_storage_pool_kind, name, &doc);
        struct json_value *annotations = json_ensure_object(doc, json_get(root, "metadata"), "annotations");

        json_set_string(doc, annotations, ANNOTATION_DEFAULT_POOL, "true");
        json_set_string(doc, json_ensure_object(doc, root, "spec"), "path", path);
        end(bootstrap, &api_storage_pool_kind, name, doc);
}

/* The sizes of the class that the Deckhouse virtualization API ships: more cores, larger guaranteed shares. */
static void add_policy(struct json_doc *doc, struct json_value *list, int min, int max, const int *fractions, size_t n_fractions)
{
        struct json_value *policy = json_append(list, json_new(doc, JSON_OBJECT)), *shares;
        struct json_value *cores = json_ensure_object(doc, policy, "cores");

        json_set_int(doc, cores, "min", min);
        json_set_int(doc, cores, "max", max);
        shares = json_ensure_array(doc, policy, "coreFractions");
        for (size_t i = 0; i < n_fractions; i++)
                json_append(shares, json_new_int(doc, fractions[i]));
}

static void add_class(struct bootstrap *bootstrap, const char *model)
{
        static const int shares[] = {5, 10, 20, 50, 100};
        struct json_doc *doc;
        struct json_value *root = begin(bootstrap, &api_virtual_machine_class_kind, "generic", &doc), *spec, *cpu, *policies;

        json_set_string(doc, json_ensure_object(doc, json_get(root, "metadata"), "annotations"), ANNOTATION_DEFAULT_CLASS, "true");
        spec = json_ensure_object(doc, root, "spec");
        cpu = json_ensure_object(doc, spec, "cpu");
        json_set_string(doc, cpu, "type", "Model");
        json_set_string(doc, cpu, "model", model);
        policies = json_ensure_array(doc, spec, "sizingPolicies");
        add_policy(doc, policies, 1, 4, shares, 5);
        add_policy(doc, policies, 5, 8, shares + 2, 3);
        add_policy(doc, policies, 9, 16, shares + 3, 2);
        add_policy(doc, policies, 17, LIMIT_CPU_CORES, shares + 4, 1);
        end(bootstrap, &api_virtual_machine_class_kind, "generic", doc);
}

static void ignore_result(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        /* A store that has failed tells its owner itself. */
}

int controllers_bootstrap(struct store *store, const struct clock *clock, const struct random_source *random,
                          const struct controllers_defaults *defaults)
{
        assert(store && clock && random && defaults && defaults->pool_path);

        struct bootstrap bootstrap = {.clock = clock, .random = random};
        autostoreobject there = store_get_newest(store, &api_namespace_kind, NULL, "default");

        if (there)
                return 0;
        add_namespace(&bootstrap, "default");
        add_namespace(&bootstrap, "kube-system");
        add_namespace(&bootstrap, "kube-node-lease");
        add_network(&bootstrap, defaults->network_name ?: "default",
                    defaults->network_cidr ? defaults->network_cidr : "10.66.10.0/24");
        add_pool(&bootstrap, defaults->pool_name ?: "default", defaults->pool_path);
        add_class(&bootstrap, defaults->class_model ? defaults->class_model : "Nehalem");

        struct store_txn txn = {.ops = bootstrap.ops,
                                .n_ops = bootstrap.n_ops,
                                .actor = {.user = "gateway/bootstrap", .client = "gateway/bootstrap"}};

        return store_commit(store, &txn, ignore_result, NULL, NULL);
}
