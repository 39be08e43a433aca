/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/admission.h"

#include "admission/machine.h"
#include "admission/storage.h"
#include "generated/api_types.h"

#include <assert.h>

static const struct {
        const struct schema_kind *kind;
        void (*fill)(const struct admission *admission, struct json_doc *doc);
        void (*check)(const struct admission *admission, const struct json_value *object, struct schema_faults *faults);
        void (*warn)(const struct admission *admission, const struct json_value *object, struct schema_faults *warnings);
} admissions[] = {
        {&api_virtual_machine_kind, machine_default, machine_check, machine_warn},
        {&api_virtual_machine_class_kind, NULL, class_check},
        {&api_virtual_disk_kind, NULL, storage_disk_check},
        {&api_virtual_image_kind, NULL, storage_image_check},
        {&api_cluster_virtual_image_kind, NULL, storage_image_check},
};

void admission_default(const struct admission *admission, struct json_doc *doc)
{
        assert(admission && admission->store && admission->kind && doc);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].fill)
                        admissions[i].fill(admission, doc);
}

char *admission_keeps(struct store *store, const struct store_object *object, const char **ret_code)
{
        assert(store && object && ret_code);
        if (object->kind != &api_storage_pool_kind || json_find(object->root, "metadata", "deletionTimestamp", NULL))
                return NULL;
        return storage_pool_keeps(store, object, ret_code);
}

void admission_check(const struct admission *admission, const struct json_value *object, struct schema_faults *faults)
{
        assert(admission && admission->store && admission->kind && faults);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].check)
                        admissions[i].check(admission, object, faults);
}

void admission_warn(const struct admission *admission, const struct json_value *object, struct schema_faults *warnings)
{
        assert(admission && admission->kind && warnings);
        for (size_t i = 0; i < G_N_ELEMENTS(admissions); i++)
                if (admissions[i].kind == admission->kind && admissions[i].warn)
                        admissions[i].warn(admission, object, warnings);
}
