/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/ingest.h"

#include "admission/quota.h"
#include "base/quantity.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/quota_names.h"

#include <errno.h>
#include <string.h>

const struct schema_kind *const ingest_kinds[] = {&api_cluster_virtual_image_kind, &api_virtual_image_kind, &api_virtual_disk_kind,
                                                  NULL};

void ingest_target_set(struct ingest_target *target, const struct store_object *object)
{
        target->kind = object->kind;
        target->namespace = g_strdup(object->namespace);
        target->name = g_strdup(object->name);
        target->uid = g_strdup(object->uid);
}

void ingest_target_clear(struct ingest_target *target)
{
        g_free(target->namespace);
        g_free(target->name);
        g_free(target->uid);
        *target = (struct ingest_target){};
}

struct report {
        const char *uid;
        int percent; /* < 0: no change */
        bool none;
        const struct blob_facts *facts;
        const struct transfer_rate *rate; /* NULL: it stays as it is, but for what is now: once it is over nothing comes any more */
        const char *reason, *message;
};

static bool set_rate(struct json_doc *doc, struct json_value *speed, const char *words, const char *number, uint64_t rate)
{
        char text[32];
        int64_t before = -1;

        json_int64(json_get(speed, number), &before);
        json_set_string(doc, speed, words, transfer_rate_words(rate, text));
        json_set_int(doc, speed, number, (int64_t)rate);
        return before != (int64_t)rate;
}

/* What the mean was stays to be seen when it is over, and after a failure nothing does. */
static bool edit_speed(struct json_doc *doc, struct json_value *status, const struct report *report)
{
        struct json_value *speed = json_get(status, "downloadSpeed");

        if (report->rate) {
                speed = json_ensure_object(doc, status, "downloadSpeed");
                bool now = set_rate(doc, speed, "current", "currentBytes", report->rate->current);
                return set_rate(doc, speed, "avg", "avgBytes", report->rate->average) || now;
        }
        if (report->none || report->reason)
                return json_remove(status, "downloadSpeed");
        if (!report->facts || !speed)
                return false;
        json_remove(speed, "current");
        return json_remove(speed, "currentBytes");
}

static enum objects_edit edit_ingest(struct json_doc *doc, struct json_value *root, void *userdata)
{
        const struct report *report = userdata;
        int64_t before = -1;

        if (g_strcmp0(json_find_string(root, "metadata", "uid", NULL), report->uid) != 0)
                return OBJECTS_REFUSED;
        struct json_value *status = json_ensure_object(doc, root, "status");
        bool speed = edit_speed(doc, status, report);
        if (report->none)
                return json_remove(status, "ingest") || speed ? OBJECTS_CHANGED : OBJECTS_SAME;
        struct json_value *ingest = json_ensure_object(doc, status, "ingest");
        json_int64(json_get(ingest, "progressPercent"), &before);
        if (!report->facts && !report->reason && before == report->percent && !speed)
                return OBJECTS_SAME;
        json_remove(ingest, "error");
        if (report->percent >= 0)
                json_set_int(doc, ingest, "progressPercent", report->percent);
        if (report->facts) {
                json_set_string(doc, ingest, "digest", report->facts->digest);
                json_set_int(doc, ingest, "sizeBytes", (int64_t)report->facts->size_bytes);
                json_set_int(doc, ingest, "virtualSizeBytes", (int64_t)report->facts->virtual_size_bytes);
                json_set_string(doc, ingest, "format", report->facts->format);
        }
        if (report->reason) {
                struct json_value *error = json_ensure_object(doc, ingest, "error");
                json_set_string(doc, error, "reason", report->reason);
                json_set_string(doc, error, "message", report->message);
        }
        return OBJECTS_CHANGED;
}

static int write_report(struct gateway *gateway, const struct ingest_target *target, struct report *report, store_done_fn done,
                        void *userdata)
{
        struct objects_target object = {
                .kind = target->kind, .namespace = target->namespace, .name = target->name, .actor = "gateway/images"};

        report->uid = target->uid;
        return objects_edit(gateway, &object, edit_ingest, report, done, userdata);
}

void ingest_report_progress(struct gateway *gateway, const struct ingest_target *target, int percent,
                            const struct transfer_rate *rate)
{
        struct report report = {.percent = percent, .rate = rate};

        write_report(gateway, target, &report, NULL, NULL);
}

void ingest_report_none(struct gateway *gateway, const struct ingest_target *target)
{
        struct report report = {.none = true};

        write_report(gateway, target, &report, NULL, NULL);
}

uint64_t ingest_room(const struct gateway *gateway, const struct ingest_target *target, const char **ret_quota)
{
        *ret_quota = NULL;
        if (!target->namespace || !gateway->quota)
                return UINT64_MAX;
        return quota_left(gateway->quota, target->namespace, QUOTA_IMAGE_STORAGE, ret_quota);
}

char *ingest_over_quota(const struct gateway *gateway, const struct ingest_target *target, uint64_t bytes)
{
        char asked[32], left[32];
        const char *quota;
        uint64_t room = ingest_room(gateway, target, &quota);

        if (bytes <= room)
                return NULL;
        return g_strdup_printf("exceeded quota: %s, requested: images.storage=%s, of which %s are left", quota,
                               quantity_format_bytes(bytes, asked), quantity_format_bytes(room, left));
}

char *ingest_no_room(const struct gateway *gateway, const struct ingest_target *target)
{
        const char *quota;
        uint64_t room = ingest_room(gateway, target, &quota);

        return ingest_over_quota(gateway, target, room < UINT64_MAX ? room + 1 : room)
                       ?: g_strdup("exceeded quota: the file is larger than what the project had left of images.storage");
}

int ingest_report_facts(struct gateway *gateway, const struct ingest_target *target, const struct blob_facts *facts,
                        store_done_fn done, void *userdata)
{
        struct report report = {.percent = 100, .facts = facts};
        g_autofree char *over = ingest_over_quota(gateway, target, facts->size_bytes);

        if (over) {
                (void)ingest_report_fault(gateway, target, REASON_QUOTA_EXCEEDED, over);
                return -EDQUOT;
        }
        return write_report(gateway, target, &report, done, userdata);
}

int ingest_report_fault(struct gateway *gateway, const struct ingest_target *target, const char *reason, const char *message)
{
        struct report report = {.percent = -1, .reason = reason, .message = message};

        return write_report(gateway, target, &report, NULL, NULL);
}
