/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/admission.h"

#include "admission/machine.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>

static const struct {
        const struct schema_kind *kind;
        void (*fill)(const struct admission *admission, struct json_doc *doc);
        void (*check)(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
} admissions[] = {
        {&api_virtual_machine_kind, machine_default, machine_check},
        {&api_virtual_machine_class_kind, NULL, class_check},
};

void admission_default(const struct admission *admission, struct json_doc *doc)
{
        assert(admission && admission->store && admission->kind && doc);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].fill)
                        admissions[i].fill(admission, doc);
}

/* What lies in a pool goes first. What its status does not know yet, its finalizer waits for. */
static char *pool_keeps(const struct json_value *root, const char **ret_code)
{
        int64_t disks = 0, volumes = 0;

        (void)json_int64(json_find(root, "status", "disks", NULL), &disks);
        (void)json_int64(json_find(root, "status", "volumes", NULL), &volumes);
        if (disks <= 0 && volumes <= 0)
                return NULL;
        *ret_code = REASON_POOL_NOT_EMPTY;
        return g_strdup_printf("it holds %" PRId64 " disks and %" PRId64 " volumes; delete them first (gabbro pool delete "
                               "--with-disks shows what would go)",
                               disks, volumes);
}

char *admission_keeps(const struct store_object *object, const char **ret_code)
{
        assert(object && ret_code);
        if (object->kind != &api_storage_pool_kind || json_find(object->root, "metadata", "deletionTimestamp", NULL))
                return NULL;
        return pool_keeps(object->root, ret_code);
}

void admission_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        assert(admission && admission->store && admission->kind && faults);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].check)
                        admissions[i].check(admission, object, faults);
}
