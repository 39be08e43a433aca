/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/** review_plural() - the review that @path asks for, or NULL. */
const char *review_plural(const char *path);
/** review_begin() - answer a SelfSubjectAccessReview or SelfSubjectRulesReview; authorised already. */
void review_begin(struct call *call, const char *plural);
