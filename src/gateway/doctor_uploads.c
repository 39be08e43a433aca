/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "base/log.h"
#include "base/quantity.h"
#include "gateway/doctor.h"
#include "gateway/resumable.h"
#include "generated/reasons.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SUBJECT "upload/" /* and the UID of its object: the address of an upload is a secret of its client */

static bool is_worked_on(const struct half *half)
{
        return half->busy || half->receiving || half->request || half->waiting || half->state != HALF_OPEN;
}

static void say_progress(struct doctor_answer *answer, struct json_value *finding, const struct half *half)
{
        uint64_t touched_us = staged_touched_us(half->staged);
        char come[32], whole[32], last[CLOCK_RFC3339_MAX], end[CLOCK_RFC3339_MAX];

        doctor_add_evidence(answer, finding, "%s of %s have come, the last at %s", quantity_format_bytes(half->offset, come),
                            quantity_format_bytes(half->grant.size_bytes, whole), clock_format_rfc3339(touched_us, false, last));
        doctor_add_evidence(answer, finding, "begun by %s; when nothing is added it goes at %s", half->grant.identity->user,
                            clock_format_rfc3339(touched_us + LIMIT_UPLOAD_LIFE_US, false, end));
}

static void add_half(void *key, void *value, void *userdata)
{
        struct doctor_answer *answer = userdata;
        struct half *half = value;
        const struct upload_grant *grant = &half->grant;
        g_autofree char *subject = g_strconcat(SUBJECT, grant->uid, NULL);
        g_autofree char *object =
                g_strjoin("/", grant->kind->kind, grant->namespace ?: grant->name, grant->namespace ? grant->name : NULL, NULL);

        if (half->state == HALF_ENDED)
                return;
        if (is_worked_on(half)) {
                answer->in_progress++;
                return;
        }
        const struct half_end *over = half_why_over(half);
        struct json_value *finding = doctor_add_finding(answer, "store", over ? REASON_STRAY_UPLOAD : REASON_HALF_UPLOAD,
                                                        over ? "Warning" : "Note", subject);
        json_set_string(answer->doc, finding, "object", object);
        say_progress(answer, finding, half);
        if (!over)
                return;
        doctor_add_evidence(answer, finding, "%s", over->words);
        json_set_string(answer->doc, finding, "fix", "end it and remove what has come of it");
        json_set_string(answer->doc, finding, "safe",
                        "no client can go on with it; the gateway does the same by itself in its time");
        json_set_string(answer->doc, finding, "undo", "none: upload the file again");
}

/* A record that cannot be read is left alone with its bytes, and bytes without a record wait for the next start. */
static bool is_of_none(struct gateway *gateway, const struct doctor_blob *file)
{
        g_autofree char *id = g_strndup(file->name, strcspn(file->name, "."));

        return !g_hash_table_contains(gateway->resumable->by_id, id) &&
               file->changed_us + DOCTOR_INTAKE_REST_US <= clock_real_us(gateway->clock);
}

void doctor_add_uploads(struct doctor_answer *answer, const struct doctor_files *files)
{
        struct gateway *gateway = answer->gateway;

        assert(answer && files);
        if (!gateway->resumable)
                return;
        g_hash_table_foreach(gateway->resumable->by_id, add_half, answer);
        for (guint i = 0; i < files->uploads->len; i++) {
                const struct doctor_blob *file = files->uploads->pdata[i];
                char time[CLOCK_RFC3339_MAX];

                if (!is_of_none(gateway, file))
                        continue;
                struct json_value *finding = doctor_add_finding(answer, "store", REASON_STRAY_UPLOAD, "Warning", file->path);
                doctor_add_evidence(answer, finding, "%" G_GUINT64_FORMAT " bytes, changed %s", file->bytes,
                                    clock_format_rfc3339(file->changed_us, false, time));
                doctor_add_evidence(answer, finding, "no record of an upload that can be read is beside it");
                json_set_string(answer->doc, finding, "fix", "move it to blobs/lost+found of the gateway's folder");
                json_set_string(answer->doc, finding, "safe", "no upload has it; nothing is deleted");
                json_set_string(answer->doc, finding, "undo", "on the gateway's host: mv the file back");
        }
}

/* Looked at again: somebody may have gone on with it since. */
static int end_half(struct half *half, char **ret_words)
{
        const struct half_end *over = half && !is_worked_on(half) ? half_why_over(half) : NULL;

        if (!over)
                return -ENOENT;
        log_info("the doctor ends an upload", "name", half->grant.name, "end", over->name);
        half_end_now(half, over);
        *ret_words = g_strdup("it is over; its bytes are removed");
        return 0;
}

int doctor_repair_upload(struct gateway *gateway, const struct doctor_files *files, const char *subject, char **ret_words)
{
        assert(gateway && files && subject && ret_words);
        if (!gateway->resumable)
                return -ENOENT;
        if (g_str_has_prefix(subject, SUBJECT))
                return end_half(g_hash_table_lookup(gateway->resumable->by_object, subject + strlen(SUBJECT)), ret_words);
        for (guint i = 0; i < files->uploads->len; i++) {
                const struct doctor_blob *file = files->uploads->pdata[i];

                if (g_str_equal(file->path, subject) && is_of_none(gateway, file))
                        return doctor_move_aside(gateway, file, ret_words);
        }
        return -ENOENT;
}
