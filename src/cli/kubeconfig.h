/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/* Writing kubeconfigs: whole or not at all, readable by their owner alone, and never two programs at once. */

/** kubeconfig_path() - the file that is read and written: --kubeconfig, the first of $KUBECONFIG that is there, or ~/.kube/config;
 *  g_free(). */
char *kubeconfig_path(const struct cli *cli);

/**
 * kubeconfig_edit() - read @path (an absent one is empty), let @edit change it, and put it in its place with mode 0600
 *
 * As kubectl does, PATH.lock keeps other writers out meanwhile. A link is followed. @edit returns CLI_OK, or a code after telling,
 * and nothing is written. Return: that, or a code (told).
 */
int kubeconfig_edit(const char *path, int (*edit)(struct json_doc *doc, void *userdata), void *userdata);

/* What a login puts there: a cluster, a user and a context that binds them. */
struct kubeconfig_entry {
        const char *name; /* of user and context: "rose@host:6443" */
        const char *cluster, *server, *ca_pem;
        bool insecure;
        const char *token, *certificate_pem, *key_pem; /* NULL: none */
};
/** kubeconfig_put() - put @entry into @doc and make its context the current one. */
void kubeconfig_put(struct json_doc *doc, const struct kubeconfig_entry *entry);
/** kubeconfig_user() - the user's part of the current context, or NULL. */
struct json_value *kubeconfig_user(struct json_doc *doc, const char *context);
