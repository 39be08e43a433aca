/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"
#include "virt/pools.h"

/** pool_ensure() - the pool of an intent, its folder made only below --pool-base. Outcomes of src/virt. */
int pool_ensure(struct job *job, const struct api_volume_pool *pool, struct virt_error *reterr);
