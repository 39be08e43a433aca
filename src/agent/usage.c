/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/usage.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

#define LEAST_US 1000000ull  /* between two looks */
#define MOST_US  15000000ull /* a look that is older says nothing of now */

struct usage {
        GMutex lock;
        struct virt_usage *before, *now;
};

struct usage *usage_new(void)
{
        struct usage *usage = g_new0(struct usage, 1);

        g_mutex_init(&usage->lock);
        return usage;
}

struct usage *usage_free(struct usage *usage)
{
        if (usage) {
                virt_usage_free(usage->before);
                virt_usage_free(usage->now);
                g_mutex_clear(&usage->lock);
                g_free(usage);
        }
        return NULL;
}

int usage_look(struct usage *usage, struct virt *virt, uint64_t *ret_again_us, struct virt_error *reterr)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&usage->lock);
        uint64_t now_us = clock_monotonic_us(clock_system()), age_us = usage->now ? now_us - usage->now->at_us : UINT64_MAX;
        struct virt_usage *taken = NULL;
        int r;

        assert(virt && ret_again_us && reterr);

        if (age_us >= LEAST_US) {
                r = virt_usage_take(virt, &taken, reterr);
                if (r) {
                        return r;
                }
                virt_usage_free(usage->before);
                usage->before = usage->now;
                usage->now = taken;
        }
        if (usage->before && usage->now->at_us - usage->before->at_us > MOST_US) {
                usage->before = virt_usage_free(usage->before);
        }
        age_us = clock_monotonic_us(clock_system()) - usage->now->at_us;
        *ret_again_us = usage->before ? 0 : LEAST_US - MIN(age_us, LEAST_US - 1);
        return 0;
}

static uint64_t rate(uint64_t before, uint64_t now, uint64_t window_us)
{
        return now > before ? (uint64_t)((double)(now - before) * 1e6 / (double)window_us) : 0;
}

void usage_rates(const struct virt_counters *before, const struct virt_counters *now, uint64_t window_us, struct json_doc *doc,
                 struct json_value *object)
{
        static const struct {
                const char *key;
                size_t offset;
        } rates[] = {
                {"readBytesPerSecond", offsetof(struct virt_counters, read_bytes)},
                {"writeBytesPerSecond", offsetof(struct virt_counters, write_bytes)},
                {"readsPerSecond", offsetof(struct virt_counters, reads)},
                {"writesPerSecond", offsetof(struct virt_counters, writes)},
                {"receivedBytesPerSecond", offsetof(struct virt_counters, received_bytes)},
                {"sentBytesPerSecond", offsetof(struct virt_counters, sent_bytes)},
        };

        assert(now && window_us && doc && object);

        json_set_int(doc, object, "windowMilliseconds", (int64_t)(window_us / 1000));
        json_set_int(doc, object, "memoryBytes", (int64_t)now->memory_bytes);
        if (now->memory_used_bytes) {
                json_set_int(doc, object, "memoryUsedBytes", (int64_t)now->memory_used_bytes);
        }
        if (!before) {
                return;
        }
        json_set_int(doc, object, "cpuMillicores", (int64_t)(rate(before->cpu_ns, now->cpu_ns, window_us) / 1000000));
        for (size_t i = 0; i < G_N_ELEMENTS(rates); i++) {
                const uint64_t *was = (const uint64_t *)((const char *)before + rates[i].offset);
                const uint64_t *is = (const uint64_t *)((const char *)now + rates[i].offset);

                json_set_int(doc, object, rates[i].key, (int64_t)rate(*was, *is, window_us));
        }
}

bool usage_tell(struct usage *usage, const char *uuid, struct json_doc *doc, struct json_value *object)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&usage->lock);
        const struct virt_usage *before = usage->before, *now = usage->now;
        const struct virt_counters *found = uuid ? virt_usage_find(now, uuid) : now ? &now->host : NULL;

        if (!found || !before) {
                return false;
        }
        usage_rates(uuid ? virt_usage_find(before, uuid) : &before->host, found, MAX(now->at_us - before->at_us, 1), doc, object);
        if (!uuid) {
                json_set_int(doc, object, "cpus", now->cpus);
                json_set_int(doc, object, "domains", now->domains->len);
        }
        return true;
}
