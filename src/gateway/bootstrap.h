/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "gateway/gateway.h"

struct controllers_defaults;

/**
 * bootstrap_run() - what a new installation needs: namespaces, default class, network and pool, the administrator's token and
 * DIR/admin.kubeconfig (0600). Existing things stay as they are; a kubeconfig that is gone is made again with a new token.
 *
 * Runs the loop until all is durable. Words of a failure in @reterr_words, g_free().
 */
int bootstrap_run(struct gateway *gateway, const struct controllers_defaults *defaults, char **reterr_words);

/** bootstrap_admin_reset() - a new administrator token and kubeconfig; the former tokens are revoked. */
int bootstrap_admin_reset(struct gateway *gateway, char **reterr_words);
