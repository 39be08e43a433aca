/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"
#include "controllers/vm/redeploy.h"

#include "base/quantity.h"
#include "controllers/class/class.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_CLOUD_INIT "provisioning.virtualization.deckhouse.io/cloud-init"
#define SECRET_SYSPREP    "provisioning.virtualization.deckhouse.io/sysprep"

/* --- class --- */

static void class_bad(struct vm_context *vm, const char *reason, const char *words)
{
        conditions_say(&vm->conditions, "VirtualMachineClassReady", "False", reason, "%s", words);
        vm_block(vm, reason, words);
}

void vm_look_at_class(struct vm_context *vm)
{
        assert(vm);

        const char *name = vm->spec->virtual_machine_class_name;
        const struct api_virtual_machine_class *class;
        const struct api_condition *ready;

        vm->class = name ? cache_get(vm->cache, &api_virtual_machine_class_kind, NULL, name) : NULL;
        if (!vm->class) {
                class_bad(vm, REASON_VIRTUAL_MACHINE_CLASS_NOT_READY,
                          arena_printf(vm->arena, "VirtualMachineClass %s does not exist", name ? name : "(none)"));
                return;
        }
        class = vm->class->view;
        if (object_deleting(vm->class)) {
                class_bad(vm, REASON_VIRTUAL_MACHINE_CLASS_NOT_READY,
                          arena_printf(vm->arena, "VirtualMachineClass %s is being deleted", name));
                return;
        }
        if (!class->status || g_strcmp0(class->status->phase, "Ready") != 0) {
                ready = class->status ? condition_get(class->status->conditions, class->status->n_conditions, "Ready") : NULL;
                class_bad(vm, REASON_VIRTUAL_MACHINE_CLASS_NOT_READY,
                          arena_printf(vm->arena, "VirtualMachineClass %s is not ready: %s", name,
                                       ready && ready->message ? ready->message : "no node was looked at yet"));
                return;
        }
        conditions_say(&vm->conditions, "VirtualMachineClassReady", "True", REASON_VIRTUAL_MACHINE_CLASS_READY,
                       "VirtualMachineClass %s can be used", name);
}

/* --- size --- */

void vm_look_at_size(struct vm_context *vm)
{
        assert(vm);

        const struct api_virtual_machine_class *class = vm->class ? vm->class->view : NULL;
        const char *fraction = vm->spec->cpu->core_fraction;
        g_autoptr(GString) words = g_string_new(NULL);
        uint64_t bytes = 0;

        vm->cores = vm->spec->cpu->cores;
        vm->fraction_percent = fraction ? (unsigned)strtoul(fraction, NULL, 10) : 100;
        if (quantity_parse_bytes(vm->spec->memory->size, &bytes) != 0)
                bytes = 0;
        vm->memory_mib = (bytes + (1u << 20) - 1) >> 20;

        struct sizing sizing = {.cores = vm->cores, .fraction_percent = vm->fraction_percent, .memory_bytes = bytes};

        if (!class) {
                conditions_say(&vm->conditions, "SizingPolicyMatched", "False", REASON_VIRTUAL_MACHINE_CLASS_NOT_FOUND,
                               "the class that says which sizes are allowed does not exist");
                return;
        }
        if (sizing_matches(class->spec, &sizing, words)) {
                conditions_say(&vm->conditions, "SizingPolicyMatched", "True", REASON_SIZING_POLICY_MATCHED,
                               "the size is allowed by VirtualMachineClass %s", vm->class->name);
                return;
        }
        conditions_say(&vm->conditions, "SizingPolicyMatched", "False", REASON_SIZING_POLICY_NOT_MATCHED, "%s", words->str);
        vm_block(vm, REASON_SIZING_POLICY_NOT_MATCHED, arena_strdup(vm->arena, words->str));
}

/* --- provisioning --- */

static void provisioning_bad(struct vm_context *vm, const char *words)
{
        conditions_say(&vm->conditions, "ProvisioningReady", "False", REASON_PROVISIONING_NOT_READY, "%s", words);
        vm_block(vm, REASON_PROVISIONING_NOT_READY, words);
}

/* The value with the user data or answers, in base64, or NULL. */
static const char *secret_value(const struct api_secret *secret, bool sysprep)
{
        static const char *const cloud_init[] = {"userData", "userdata", NULL};
        static const char *const answers[] = {"unattend.xml", "autounattend.xml", NULL};

        for (const char *const *key = sysprep ? answers : cloud_init; *key; key++) {
                const char *value = pairs_get(secret->data, secret->n_data, *key);

                if (value && value[0])
                        return value;
        }
        return NULL;
}

static const struct api_secret_ref *provisioning_ref(const struct api_provisioning *provisioning, bool *ret_sysprep)
{
        *ret_sysprep = g_strcmp0(provisioning->type, "SysprepRef") == 0;
        return *ret_sysprep ? provisioning->sysprep_ref : provisioning->user_data_ref;
}

static const char *secret_fault(struct vm_context *vm, const struct api_secret_ref *ref, bool sysprep, const char **ret_value)
{
        const char *type = sysprep ? SECRET_SYSPREP : SECRET_CLOUD_INIT;
        const struct cache_object *object = ref ? cache_get(vm->cache, &api_secret_kind, vm->object->namespace, ref->name) : NULL;
        const struct api_secret *secret;

        if (!object)
                return arena_printf(vm->arena, "Secret %s does not exist", ref ? ref->name : "(none)");
        secret = object->view;
        if (g_strcmp0(secret->type, type) != 0)
                return arena_printf(vm->arena, "Secret %s has the type %s, not %s", ref->name,
                                    secret->type ? secret->type : "Opaque", type);
        *ret_value = secret_value(secret, sysprep);
        if (!*ret_value)
                return arena_printf(vm->arena, "Secret %s has no key %s", ref->name, sysprep ? "unattend.xml" : "userData");
        return NULL;
}

void vm_look_at_provisioning(struct vm_context *vm)
{
        assert(vm);

        const struct api_provisioning *provisioning = vm->spec->provisioning;
        const struct api_secret_ref *ref;
        const char *value, *fault;
        bool sysprep;

        if (!provisioning) {
                conditions_say(&vm->conditions, "ProvisioningReady", "True", REASON_PROVISIONING_READY,
                               "the machine needs no first-boot data");
                return;
        }
        if (g_strcmp0(provisioning->type, "UserData") == 0) {
                if (!provisioning->user_data || !provisioning->user_data[0])
                        provisioning_bad(vm, "spec.provisioning.userData is empty");
                else if (strlen(provisioning->user_data) > LIMIT_USER_DATA_BYTES)
                        provisioning_bad(vm,
                                         arena_printf(vm->arena, "spec.provisioning.userData has %zu bytes, %u are allowed inline",
                                                      strlen(provisioning->user_data), LIMIT_USER_DATA_BYTES));
                else
                        conditions_say(&vm->conditions, "ProvisioningReady", "True", REASON_PROVISIONING_READY,
                                       "the machine carries its user data");
                return;
        }
        ref = provisioning_ref(provisioning, &sysprep);
        fault = secret_fault(vm, ref, sysprep, &value);
        if (fault)
                provisioning_bad(vm, fault);
        else
                conditions_say(&vm->conditions, "ProvisioningReady", "True", REASON_PROVISIONING_READY, "Secret %s holds %s",
                               ref->name, sysprep ? "the answers" : "the user data");
}

/* The seed names its content by a hash; the host fetches the value itself (decision 6). */
struct api_instance_seed *vm_seed(struct vm_context *vm)
{
        assert(vm);

        const struct api_provisioning *provisioning = vm->spec->provisioning;
        struct api_instance_seed *seed = arena_new0(vm->arena, struct api_instance_seed);
        g_autofree guchar *data = NULL;
        g_autofree char *digest = NULL;
        const char *value = NULL;
        bool sysprep = false;
        gsize len = 0;

        if (!provisioning)
                return NULL;
        if (g_strcmp0(provisioning->type, "UserData") == 0) {
                digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, provisioning->user_data, -1);
        } else {
                const struct api_secret_ref *ref = provisioning_ref(provisioning, &sysprep);

                if (secret_fault(vm, ref, sysprep, &value) != NULL)
                        return NULL;
                data = g_base64_decode(value, &len);
                digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, len);
                turn_depends(vm->turn, cache_get(vm->cache, &api_secret_kind, vm->object->namespace, ref->name));
        }
        *seed = (struct api_instance_seed){
                .kind = sysprep ? "Sysprep" : "CloudInit",
                .hostname = vm->object->name,
                .instance_id = redeploy_identity(vm->object),
                .digest = arena_strdup(vm->arena, digest),
        };
        return seed;
}
