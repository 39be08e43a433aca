/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/rules/rules.h"

#include <string.h>

static bool has_certificate(const char *base64)
{
        gsize len = 0;
        g_autofree guchar *bytes = g_base64_decode(base64, &len);

        return g_strstr_len((const char *)bytes, (gssize)len, "-----BEGIN CERTIFICATE-----") != NULL;
}

void rules_callback(const struct json_value *object, const struct json_value *old, struct schema_faults *faults)
{
        const struct json_value *bundle = json_find(object, "spec", "caBundle", NULL);
        const char *base64 = json_string(bundle, NULL), *url = json_find_string(object, "spec", "url", NULL);

        rules_selector(faults, "spec.selector", json_find(object, "spec", "selector", NULL));
        if (base64 && !has_certificate(base64))
                schema_faults_add(faults, "spec.caBundle", REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: there is no certificate in PEM in it");
        if (base64 && url && !g_str_has_prefix(url, "https:"))
                rules_forbidden(faults, "spec.caBundle", "the endpoint is not one of https");
}
