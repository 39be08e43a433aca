/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/domains.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <stdlib.h>

static void take_path(const struct virt_facts *facts, struct virt_disk_error *error)
{
        for (size_t i = 0; i < facts->domain.n_disks; i++)
                if (g_strcmp0(facts->domain.disks[i].target, error->target) == 0)
                        error->path = g_strdup(facts->domain.disks[i].path);
}

/* The test driver makes errors up. */
static int read_errors(struct virt *virt, virDomainPtr domain, virDomainDiskErrorPtr *ret_list, int *ret_n,
                       struct virt_error *reterr)
{
        int most = virt_is_test(virt) ? 0 : virDomainGetDiskErrors(domain, NULL, 0, 0), n = 0;
        virDomainDiskErrorPtr list = g_new0(virDomainDiskError, MAX(most, 0) + 1);

        if (most > 0)
                n = virDomainGetDiskErrors(domain, list, (unsigned)most, 0);
        if (most < 0 || n < 0) {
                g_free(list);
                return virt_fail(reterr, "DomainLost");
        }
        *ret_list = list;
        *ret_n = n;
        return 0;
}

int virt_domain_disk_errors(struct virt *virt, const char *uuid, struct virt_disk_error **ret_errors, size_t *ret_n,
                            struct virt_error *reterr)
{
        AUTO_CONNECTION connection = NULL;
        g_autoptr(virt_facts) facts = NULL;
        AUTO_DOMAIN domain = NULL;
        virDomainDiskErrorPtr list = NULL;
        struct virt_disk_error *errors;
        int n = 0, r = virt_use_own(virt, VIRT_QUERIES, uuid, &connection, &domain, reterr);

        assert(ret_errors && ret_n);
        if (!r)
                r = read_errors(virt, domain, &list, &n, reterr);
        if (!r && n > 0)
                r = virt_domain_facts(virt, uuid, true, &facts, reterr);
        errors = g_new0(struct virt_disk_error, (size_t)n + 1);
        for (int i = 0; i < n; i++) {
                errors[i].target = g_strdup(list[i].disk);
                errors[i].no_space = list[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE;
                if (!r)
                        take_path(facts, &errors[i]);
                free(list[i].disk);
        }
        g_free(list);
        if (r) {
                virt_disk_errors_free(errors, (size_t)n);
                return r;
        }
        *ret_errors = errors;
        *ret_n = (size_t)n;
        return 0;
}

void virt_disk_errors_free(struct virt_disk_error *errors, size_t n)
{
        for (size_t i = 0; errors && i < n; i++) {
                g_free(errors[i].target);
                g_free(errors[i].path);
        }
        g_free(errors);
}
