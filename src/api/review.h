/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/* "May I?", "may they?", "what may I?" (kubectl auth can-i), answered by the authoriser itself. */
struct review;

/** review_find() - the review that @path asks for, or NULL; @ret_namespace: of a local one, g_free(). */
const struct review *review_find(const char *path, char **ret_namespace);
/** review_plural() - "selfsubjectaccessreviews". */
const char *review_plural(const struct review *review);
/** review_begin() - answer it; authorised already. */
void review_begin(struct call *call, const struct review *review);

/* For discovery. */
struct review_kind {
        const char *plural, *kind;
        bool namespaced;
};
/** review_kinds() - all of group authorization.k8s.io/v1; ends with a NULL plural. */
const struct review_kind *review_kinds(void);
