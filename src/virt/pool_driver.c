/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/pool_driver.h"

#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/* Every type of the capability matrix; one without a driver is refused with the matrix's reason. */
static const struct {
        const char *type;
        const struct pool_driver *driver;
} rows[] = {
        {"Directory", &pool_directory_driver},
        {"LVM", NULL},
        {"LVMThin", NULL},
        {"NFS", NULL},
        {"ISCSI", NULL},
        {"GlusterFS", NULL},
        {"RBD", NULL},
        {"DRBD", NULL},
};

int pool_driver_find(struct virt *virt, const char *type, enum capability_operation operation,
                     const struct pool_driver **ret_driver, struct virt_error *reterr)
{
        const struct capability_pool *pool = capability_pool_find(type ? type : rows[0].type);
        struct capability_answer answer;
        const char *code;
        size_t i = 0;

        assert(virt && ret_driver && reterr);

        if (!pool)
                return virt_say(reterr, VIRT_E_INVALID, REASON_POOL_TYPE_NOT_YET, "there are no pools of type %s", type);
        while (i < G_N_ELEMENTS(rows) && strcmp(rows[i].type, pool->type) != 0)
                i++;
        assert(i < G_N_ELEMENTS(rows)); /* a type came into the matrix without a row here */
        if (rows[i].driver) {
                *ret_driver = virt_is_test(virt) ? &pool_memory_driver : rows[i].driver;
                return 0;
        }
        answer = capability_ask(pool, operation, (struct capability_facts){});
        code = answer.rule->code;
        return virt_say(reterr, VIRT_E_INVALID, code, "pools of type %s: %s", pool->type, reason_text(code));
}

const struct pool_driver *pool_driver_of_libvirt(struct virt *virt, const char *libvirt_type)
{
        assert(virt && libvirt_type);

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].driver && strcmp(rows[i].driver->libvirt_type, libvirt_type) == 0)
                        return virt_is_test(virt) ? &pool_memory_driver : rows[i].driver;
        return NULL;
}
