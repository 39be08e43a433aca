/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/permissions.h"

#include <assert.h>
#include <string.h>

#define OWN        "gabbro.dev"
#define OPERATIONS "virtualmachineoperations"
#define MACHINES   "virtualmachines"

/* Standard verbs on subresources: kubectl create role takes them as they are. */
const struct auth_permission auth_permissions[] = {
        {"Enable KVM", "update", "", "nodes", "kvm", "let a host run machines with KVM"},
        {"Enable bhyve", "update", "", "nodes", "bhyve", "let a host run machines with bhyve"},
        {"Enable VMM", "update", "", "nodes", "vmm", "let a host run machines with vmm"},
        {"Enable LXD", "update", "", "nodes", "lxd", "let a host run instances of LXD"},
        {"Enable WSL", "update", "", "nodes", "wsl", "let a host run instances of WSL"},
        {"Reboot Host", "create", "", "nodes", "reboot", "reboot a host in an orderly way"},
        {"Create Child Host", "create", OWN, MACHINES, NULL, "make machines"},
        {"Configure Child Host", "update", OWN, MACHINES, NULL, "change what a machine is"},
        {"Delete Child Host", "delete", OWN, MACHINES, NULL, "delete machines"},
        {"Start Child Host", "create", OWN, OPERATIONS, "start", "start machines"},
        {"Stop Child Host", "create", OWN, OPERATIONS, "stop", "shut machines down"},
        {"Restart Child Host", "create", OWN, OPERATIONS, "restart", "restart machines"},
        {"Force Off Child Host", "create", OWN, OPERATIONS, "forceoff", "cut machines off"},
        {"Suspend Child Host", "create", OWN, OPERATIONS, "suspend", "suspend machines, memory kept"},
        {"Resume Child Host", "create", OWN, OPERATIONS, "resume", "let suspended machines go on"},
        {"Redeploy Child Host", "create", OWN, OPERATIONS, "redeploy",
         "make machines anew of their images; takes the right to delete disks too"},
        {"Clone Child Host", "create", OWN, OPERATIONS, "clone",
         "make machines of machines; takes the rights to read and make machines and disks too"},
        {"Reset Child Host", "create", OWN, OPERATIONS, "reset", "press the reset button of machines"},
        {"Evict Child Host", "create", OWN, OPERATIONS, "evict", "move machines away from their host"},
        {"Migrate Child Host", "create", OWN, OPERATIONS, "migrate", "move machines to another host"},
        {"Open Console", "get", OWN, MACHINES, "console", "use the serial console of machines"},
        {"Take Screenshot", "get", OWN, MACHINES, "screenshot", "see what machines show on their screens"},
        {"Read Screen Password", "get", OWN, MACHINES, "graphicspassword", "read the password of a screen that listens for TCP"},
        {"Change Screen Password", "create", OWN, MACHINES, "graphicspassword", "make another one"},
        {"See Usage", "get", OWN, MACHINES, "usage", "see what machines use of processor, memory, disks and network"},
        {"See Host Usage", "get", "", "nodes", "usage", "see what hosts use of processor and memory"},
        {"Run In Guest", "create", OWN, MACHINES, "exec", "run commands in guests, as their administrator"},
        {"Set Guest Password", "create", OWN, MACHINES, "guestpassword", "set passwords of users of guests"},
        {"Freeze Guest", "create", OWN, MACHINES, "freeze", "freeze the file systems of guests for a while"},
        {"Thaw Guest", "create", OWN, MACHINES, "thaw", "thaw them before their time"},
        {"Read Guest", "get", OWN, MACHINES, "guestinfo", "ask guests for their users, file systems and addresses"},
        {},
};

const struct auth_permission *auth_permission_find(const char *name)
{
        assert(name);
        for (const struct auth_permission *permission = auth_permissions; permission->name; permission++)
                if (g_ascii_strcasecmp(permission->name, name) == 0)
                        return permission;
        return NULL;
}

struct auth_attributes auth_permission_attributes(const struct auth_permission *permission, const char *namespace, const char *name)
{
        assert(permission && permission->name);
        return (struct auth_attributes){
                .verb = permission->verb,
                .group = permission->group,
                .resource = permission->resource,
                .subresource = permission->subresource,
                .namespace = namespace,
                .name = name,
        };
}

char *auth_permission_right(const struct auth_permission *permission)
{
        assert(permission && permission->name);
        return g_strdup_printf("%s %s%s%s%s%s", permission->verb, permission->resource, permission->subresource ? "/" : "",
                               permission->subresource ?: "", *permission->group ? "." : "", permission->group);
}
