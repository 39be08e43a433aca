/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct agent;
struct renewal;

/** renewal_new() - renew the certificate when two thirds of its life are over (decision 15), again and again until it is done. */
int renewal_new(struct agent *agent, struct renewal **ret_renewal);
struct renewal *renewal_free(struct renewal *renewal);
