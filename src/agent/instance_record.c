/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_record.h"

#include "virt/cpu_features.h"

#include <assert.h>

static const char *firmware_of(const struct api_instance_spec *spec)
{
        return spec->firmware ? spec->firmware : "BIOS";
}

static bool paravirtual(const struct api_instance_spec *spec)
{
        return !spec->has_paravirtualization || spec->paravirtualization;
}

static struct json_value *asked(const struct api_instance_spec *spec, struct json_doc *doc)
{
        struct json_value *object = json_new(doc, JSON_OBJECT), *cpu = json_ensure_object(doc, object, "cpu");
        const struct api_instance_cpu_model *model = spec->cpu_model;
        struct json_value *features = model && model->n_features > 0 ? json_ensure_array(doc, cpu, "features") : NULL;

        json_set_string(doc, cpu, "mode", model ? model->mode : NULL);
        json_set_string(doc, cpu, "model", model ? model->model : NULL);
        for (size_t i = 0; features && i < model->n_features; i++)
                json_append(features, json_new_string(doc, model->features[i]));
        json_set_string(doc, object, "firmware", firmware_of(spec));
        json_set_bool(doc, object, "paravirtualization", paravirtual(spec));
        return object;
}

static bool same(const struct json_value *a, const struct json_value *b)
{
        return a && b && json_equal(a, b);
}

/* Records of older agents do not say what was asked for: as far as it can be told from what was made of it. */
static unsigned parts_of_old(const struct json_value *record, const struct api_instance_spec *spec)
{
        const struct api_instance_cpu_model *model = spec->cpu_model;
        const char *recorded = json_find_string(record, "cpu", "model", NULL);
        const char *firmware = json_find_string(record, "firmware", NULL);
        unsigned parts = VIRT_PART_BUSES;

        if (!model || g_strcmp0(model->mode, "Model") != 0 || g_strcmp0(model->model, recorded) == 0)
                parts |= VIRT_PART_CPU;
        if (!firmware || g_strcmp0(firmware, firmware_of(spec)) == 0)
                parts |= VIRT_PART_FIRMWARE;
        return parts;
}

unsigned instance_record_parts(const struct json_value *record, const struct api_instance_spec *spec)
{
        const struct json_value *then = json_get(record, "asked"), *now;
        g_autoptr(json_doc) doc = NULL;
        unsigned parts = 0;

        assert(spec);
        if (!record)
                return 0;
        if (!then)
                return parts_of_old(record, spec);
        doc = json_doc_new();
        now = asked(spec, doc);
        if (same(json_get(then, "cpu"), json_get(now, "cpu")))
                parts |= VIRT_PART_CPU;
        if (same(json_get(then, "firmware"), json_get(now, "firmware")))
                parts |= VIRT_PART_FIRMWARE;
        if (same(json_get(then, "paravirtualization"), json_get(now, "paravirtualization")))
                parts |= VIRT_PART_BUSES;
        return parts;
}

bool instance_record_fits(const struct json_value *record, const struct api_instance_spec *spec)
{
        return record && json_get(record, "asked") && instance_record_parts(record, spec) == VIRT_PART_ALL;
}

const struct json_value *instance_record(const struct api_instance *instance, const struct api_instance_status *told)
{
        const struct json_value *ordered = instance->spec->hardware, *newest = told ? told->hardware : NULL;
        /* What came to the running domain has its places in the record that was told last. */
        bool plugged = instance_has_attachments(instance->spec);
        const struct json_value *records[3] = {plugged ? newest : ordered, plugged ? ordered : newest,
                                               instance->status ? instance->status->hardware : NULL};

        assert(instance);
        for (size_t i = 0; i < G_N_ELEMENTS(records); i++)
                if (instance_record_fits(records[i], instance->spec))
                        return records[i];
        for (size_t i = 0; i < G_N_ELEMENTS(records); i++)
                if (records[i])
                        return records[i];
        return NULL;
}

/* Without them when libvirt cannot tell now: other hosts are then asked at the start. */
static void add_required(struct job *job, const struct virt_cpu *cpu, struct json_doc *doc, struct json_value *record)
{
        struct json_value *object = json_get(record, "cpu"), *list;
        struct cpu_features features;
        struct virt_error ignored;

        if (virt_cpu_features(job->agent->virt, &job->host->facts, cpu, job->arena, &features, &ignored) || features.n == 0)
                return;
        list = json_ensure_array(doc, object, "requires");
        for (size_t i = 0; i < features.n; i++)
                json_append(list, json_new_string(doc, features.names[i]));
}

struct json_value *instance_record_make(struct job *job, const struct api_instance *instance, const struct virt_domain *domain,
                                        const struct json_value *before, struct json_doc *doc)
{
        struct json_value *record;
        int64_t profile = before ? 1 : VIRT_PROFILE_NEWEST;

        assert(job && instance && domain && doc);
        record = virt_hardware_record(domain, doc);
        (void)json_int64(json_get(before, "profile"), &profile); /* absent or not a number: as it is */
        json_set_int(doc, record, "profile", profile);
        json_set(doc, record, "asked", asked(instance->spec, doc));
        if (instance->spec->cpu_model && g_strcmp0(instance->spec->cpu_model->mode, "Host") == 0)
                add_required(job, &domain->cpu, doc, record); /* the other classes say themselves what they need */
        return record;
}
