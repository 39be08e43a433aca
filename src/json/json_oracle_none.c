/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json_oracle.h"

enum json_oracle json_oracle_read(const char *text, size_t len, unsigned depth, GString *out)
{
        return JSON_ORACLE_IS_SILENT;
}

gboolean json_oracle_is_lax(const char *reason)
{
        return TRUE;
}
