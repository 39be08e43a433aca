/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How functions of this tree report failure.
 *
 * 0     done.
 * < 0   -errno: the operation is lost. Pass it up; never match on a value.
 * > 0   an outcome that the module names (STORE_E_CONFLICT). The direct caller handles it and never passes it on.
 */

#include <assert.h>
#include <errno.h>

/**
 * error_fold() - turn an outcome that the caller did not expect into a lost operation
 * @r: result of a call, negative or an outcome (> 0)
 *
 * Return: @r when it is negative, -ENOTRECOVERABLE for an outcome, 0 for 0.
 */
static inline int error_fold(int r)
{
        return r > 0 ? -ENOTRECOVERABLE : r;
}
