/* SPDX-License-Identifier: Apache-2.0 */
#include "store/ring.h"

#include "base/error.h"
#include "base/limits.h"

#define RING_FIRST_SLOTS 64u
/* Trees of versions that nobody holds any more are dropped this many events after they were published. */
#define RING_TREES 64u

static size_t ring_event_cost(const struct ring_event *event)
{
        /* The previous version mostly is the object of an event before; counting both errs on the safe side. */
        return sizeof(*event) + version_cost(event->object) + (event->verb == STORE_DELETE ? 0 : version_cost(event->previous));
}

static void ring_drop_oldest(struct ring *ring)
{
        struct ring_event *event = &ring->events[ring->head];

        assert(ring->n > 0);
        ring->bytes -= ring_event_cost(event);
        ring->floor = event->revision;
        event->object = version_disown(event->object);
        event->previous = version_disown(event->previous);
        ring->head = (ring->head + 1) & (ring->slots - 1);
        ring->n--;
}

void ring_clear(struct ring *ring)
{
        while (ring->n > 0)
                ring_drop_oldest(ring);
        g_clear_pointer(&ring->events, g_free);
        ring->slots = 0;
}

static void ring_grow(struct ring *ring)
{
        size_t slots = ring->slots ? ring->slots * 2 : RING_FIRST_SLOTS;
        struct ring_event *events = g_new(struct ring_event, slots);

        for (size_t i = 0; i < ring->n; i++)
                events[i] = *ring_at(ring, i);
        g_free(ring->events);
        ring->events = events;
        ring->slots = slots;
        ring->head = 0;
}

static bool ring_is_over(const struct ring *ring, uint64_t now_us)
{
        const struct ring_event *oldest = ring_at(ring, 0);

        if (ring->n <= 1)
                return false;
        if (ring->n > LIMIT_STORE_EVENT_RING || ring->bytes > LIMIT_STORE_EVENT_RING_BYTES)
                return true;
        return ring->n > LIMIT_STORE_EVENT_RING_QUIET && now_us > oldest->time_us &&
               now_us - oldest->time_us > LIMIT_STORE_EVENT_RING_QUIET_US;
}

void ring_push(struct ring *ring, const struct ring_event *event)
{
        assert(event->object);
        assert(ring->n == 0 || ring_at(ring, ring->n - 1)->revision < event->revision);
        if (ring->n == ring->slots)
                ring_grow(ring);
        ring->events[(ring->head + ring->n) & (ring->slots - 1)] = *event;
        version_own(event->object);
        version_own(event->previous);
        ring->n++;
        ring->bytes += ring_event_cost(event);
        while (ring_is_over(ring, event->time_us))
                ring_drop_oldest(ring);
        if (ring->n > RING_TREES) {
                const struct ring_event *settled = ring_at(ring, ring->n - 1 - RING_TREES);

                version_shrink(settled->object);
                version_shrink(settled->previous);
        }
}

size_t ring_seek(const struct ring *ring, uint64_t after)
{
        size_t low = 0, high = ring->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (ring_at(ring, middle)->revision <= after)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}
