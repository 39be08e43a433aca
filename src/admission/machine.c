/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/machine.h"

#include "admission/sizing.h"
#include "base/arena.h"
#include "base/quantity.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/systems.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PROJECT_CLASS "gabbro.dev/default-class" /* annotation, or else label, of a Namespace */
#define DEFAULT_CLASS "virtualmachineclass.virtualization.deckhouse.io/is-default-class"

/* --- classes
 * ----------------------------------------------------------------------------------------------------------------------- */

struct class_search {
        const char *but; /* not this one */
        char *found;
};

static bool is_default(const struct json_value *root)
{
        return g_strcmp0(json_find_string(root, "metadata", "annotations", DEFAULT_CLASS, NULL), "true") == 0;
}

static bool find_default(const struct store_object *object, void *userdata)
{
        struct class_search *search = userdata;

        if (is_default(object->root) && g_strcmp0(object->name, search->but) != 0)
                search->found = g_strdup(object->name);
        return !search->found;
}

static char *default_class(struct store *store, const char *but)
{
        struct class_search search = {.but = but};

        store_list(store, &api_virtual_machine_class_kind, NULL, NULL, find_default, &search);
        return search.found;
}

/* The project's own default goes before that of all. */
static char *class_of_project(const struct admission *admission)
{
        autostoreobject namespace = store_get_newest(admission->store, &api_namespace_kind, NULL, admission->namespace);
        const char *name = NULL;

        if (namespace)
                name = json_find_string(namespace->root, "metadata", "annotations", PROJECT_CLASS, NULL)
                               ?: json_find_string(namespace->root, "metadata", "labels", PROJECT_CLASS, NULL);
        return name && *name ? g_strdup(name) : default_class(admission->store, NULL);
}

/* The class that the machine names, decoded into @arena; @ret_object holds its texts. NULL: it does not exist (yet). */
static const struct api_virtual_machine_class_spec *class_of(const struct admission *admission, const struct json_value *root,
                                                             struct arena *arena, const struct store_object **ret_object)
{
        const char *name = json_find_string(root, "spec", "virtualMachineClassName", NULL);

        *ret_object = name ? store_get_newest(admission->store, &api_virtual_machine_class_kind, NULL, name) : NULL;
        return *ret_object ? schema_decode(&api_virtual_machine_class_spec_type, json_get((*ret_object)->root, "spec"), arena)
                           : NULL;
}

/* --- defaults
 * ---------------------------------------------------------------------------------------------------------------------- */

static bool is_absent(const struct json_value *value)
{
        return !value || json_is(value, JSON_NULL);
}

/* What an update leaves out as the stored object does is not filled in: a machine does not change behind its owner's back. */
static bool wants(const struct admission *admission, const struct json_value *spec, const char *part, const char *member)
{
        const struct json_value *old = json_get(admission->old, "spec");

        if (admission->old && is_absent(part ? json_find(old, part, member, NULL) : json_get(old, member)))
                return false;
        if (part && json_get(spec, part) && !json_is(json_get(spec, part), JSON_OBJECT) &&
            !json_is(json_get(spec, part), JSON_NULL))
                return false; /* of a wrong type: told by the checks */
        return is_absent(part ? json_find(spec, part, member, NULL) : json_get(spec, member));
}

static struct json_value *part_of(struct json_doc *doc, struct json_value *spec, const char *part)
{
        if (json_is(json_get(spec, part), JSON_NULL))
                json_remove(spec, part);
        return json_ensure_object(doc, spec, part);
}

/* What libosinfo knows of the system, as far as nobody said otherwise. */
static void fill_system(const struct admission *admission, struct json_doc *doc, struct json_value *spec)
{
        const struct schema_system *system = schema_system_find(json_find_string(spec, "osId", NULL));
        const char *type = json_find_string(spec, "osType", NULL);
        bool windows;

        /* A name that comes later changes no device of a machine that exists; who leaves out what was filled in has it again. */
        if (!system || (admission->old && !json_equal(json_get(spec, "osId"), json_find(admission->old, "spec", "osId", NULL))))
                return;
        if (!type && wants(admission, spec, NULL, "osType"))
                json_set_string(doc, spec, "osType", type = schema_system_type_text(system->type));
        windows = g_strcmp0(type, "Windows") == 0;
        if (!system->virtio && wants(admission, spec, NULL, "enableParavirtualization"))
                json_set_bool(doc, spec, "enableParavirtualization", false);
        if (!system->bios && wants(admission, spec, NULL, "bootloader"))
                json_set_string(doc, spec, "bootloader", windows ? "EFIWithSecureBoot" : "EFI");
}

static void fill_fraction(struct json_doc *doc, struct json_value *spec, const struct api_virtual_machine_class_spec *class)
{
        const char *fraction = NULL;
        int64_t cores = 0;

        if (json_int64(json_find(spec, "cpu", "cores", NULL), &cores) == 0 && cores > 0)
                fraction = sizing_default_fraction(class, cores);
        if (fraction) {
                g_autofree char *percent = g_strdup_printf("%lu%%", strtoul(fraction, NULL, 10));

                json_set_string(doc, part_of(doc, spec, "cpu"), "coreFraction", percent);
        }
}

void machine_default(const struct admission *admission, struct json_doc *doc)
{
        struct json_value *spec = json_get(json_root(doc), "spec");
        const struct api_virtual_machine_class_spec *class;
        g_autoptr(arena) arena = arena_new(0);
        autostoreobject object = NULL;

        if (!json_is(spec, JSON_OBJECT))
                return;
        fill_system(admission, doc, spec);
        if (wants(admission, spec, NULL, "virtualMachineClassName")) {
                g_autofree char *name = class_of_project(admission);

                json_set_string(doc, spec, "virtualMachineClassName", name);
        }
        class = class_of(admission, json_root(doc), arena, &object);
        if (!class)
                return;
        if (class->defaults && class->defaults->has_cores && wants(admission, spec, "cpu", "cores"))
                json_set_int(doc, part_of(doc, spec, "cpu"), "cores", class->defaults->cores);
        if (class->defaults && class->defaults->memory && wants(admission, spec, "memory", "size"))
                json_set_string(doc, part_of(doc, spec, "memory"), "size", class->defaults->memory);
        if (wants(admission, spec, "cpu", "coreFraction"))
                fill_fraction(doc, spec, class);
}

/* --- checks
 * ------------------------------------------------------------------------------------------------------------------------ */

static bool size_of(const struct json_value *root, struct sizing *ret_sizing)
{
        const char *fraction = json_find_string(root, "spec", "cpu", "coreFraction", NULL);
        const struct json_value *memory = json_find(root, "spec", "memory", "size", NULL);
        const char *text = json_string(memory, json_number_text(memory));

        *ret_sizing = (struct sizing){.fraction_percent = fraction ? (unsigned)strtoul(fraction, NULL, 10) : 100};
        return json_int64(json_find(root, "spec", "cpu", "cores", NULL), &ret_sizing->cores) == 0 && ret_sizing->cores > 0 &&
               text && quantity_parse_bytes(text, &ret_sizing->memory_bytes) == 0;
}

static void add_violation(const char *field, const char *words, void *faults)
{
        schema_faults_add(faults, field, REASON_SIZING_POLICY_NOT_MATCHED, "Invalid value: %s", words);
}

/* A machine that its class does not allow any more goes on, and its labels may change; its configuration may not, until it fits
 * (D37). */
static void check_size(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        const struct api_virtual_machine_class_spec *class;
        g_autoptr(arena) arena = arena_new(0);
        autostoreobject holder = NULL;
        struct sizing sizing;

        if (json_find(object, "metadata", "deletionTimestamp", NULL) || !size_of(object, &sizing))
                return;
        if (admission->old && json_equal(json_get(object, "spec"), json_get(admission->old, "spec")))
                return;
        class = class_of(admission, object, arena, &holder);
        sizing_check(class, &sizing, add_violation, faults);
}

/* Somebody made an address for the machine, and the machine does not use it: that was meant otherwise. */
static void check_address(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        const struct json_value *spec = json_get(object, "spec");
        const char *name = json_find_string(object, "metadata", "name", NULL);
        autostoreobject address = NULL;

        if (admission->old || !name || json_get(spec, "virtualMachineIPAddressName"))
                return;
        for (const struct json_value *network = json_first(json_get(spec, "networks")); network; network = json_next(network))
                if (json_get(network, "virtualMachineIPAddressName"))
                        return;
        address = store_get_newest(admission->store, &api_virtual_machine_ip_address_kind, admission->namespace, name);
        if (address)
                schema_faults_add(
                        faults, "spec.virtualMachineIPAddressName", REASON_FIELD_VALUE_REQUIRED,
                        "Required value: there is a VirtualMachineIPAddress \"%s\"; name it to use it, or give the machine "
                        "another name",
                        name);
}

void machine_warn(const struct admission *admission, const struct json_value *object, struct schema_faults *warnings)
{
        const struct json_value *spec = json_get(object, "spec");
        const struct schema_system *system = schema_system_find(json_find_string(spec, "osId", NULL));
        struct sizing sizing;

        if (!system || !size_of(object, &sizing) || (admission->old && json_equal(spec, json_get(admission->old, "spec"))))
                return;
        if (sizing.cores < system->least_cores)
                schema_faults_add(warnings, "spec.cpu.cores", REASON_FIELD_VALUE_INVALID,
                                  "spec.cpu.cores: %s wants at least %u cores", system->name, system->least_cores);
        if (sizing.memory_bytes >> 20 < system->least_memory_mib)
                schema_faults_add(warnings, "spec.memory.size", REASON_FIELD_VALUE_INVALID,
                                  "spec.memory.size: %s wants at least %uMi", system->name, system->least_memory_mib);
        if (!system->bios && g_strcmp0(json_find_string(spec, "bootloader", NULL), "BIOS") == 0)
                schema_faults_add(warnings, "spec.bootloader", REASON_FIELD_VALUE_INVALID,
                                  "spec.bootloader: %s does not start with a BIOS", system->name);
}

void machine_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        check_size(admission, object, faults);
        check_address(admission, object, faults);
}

static void add_default_violation(const char *field, const char *words, void *faults)
{
        schema_faults_add(faults, "spec.defaults", REASON_SIZING_POLICY_NOT_MATCHED, "Invalid value: %s", words);
}

static void check_defaults(const struct json_value *object, struct schema_faults *faults)
{
        const struct api_virtual_machine_class_spec *class;
        g_autoptr(arena) arena = arena_new(0);
        const char *fraction;
        uint64_t bytes = 0;

        class = schema_decode(&api_virtual_machine_class_spec_type, json_get(object, "spec"), arena);
        if (!class || !class->defaults || !class->defaults->has_cores || class->defaults->cores < 1 || !class->defaults->memory ||
            quantity_parse_bytes(class->defaults->memory, &bytes) != 0)
                return;
        fraction = sizing_default_fraction(class, class->defaults->cores);

        const struct sizing sizing = {.cores = class->defaults->cores,
                                      .memory_bytes = bytes,
                                      .fraction_percent = fraction ? (unsigned)strtoul(fraction, NULL, 10) : 100};

        sizing_check(class, &sizing, add_default_violation, faults);
}

void class_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        g_autofree char *other = NULL;

        if (schema_faults_count(faults) == 0)
                check_defaults(object, faults);
        if (!is_default(object) || (admission->old && is_default(admission->old)))
                return;
        other = default_class(admission->store, json_find_string(object, "metadata", "name", NULL));
        if (other)
                schema_faults_add(faults, "metadata.annotations", REASON_FIELD_VALUE_DUPLICATE,
                                  "Duplicate value: VirtualMachineClass \"%s\" is the default already; take the annotation from it "
                                  "first",
                                  other);
}
