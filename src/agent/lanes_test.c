/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lanes.h"

#include "base/error.h"

#include <glib.h>

#define PATIENCE_US 10000000ull
#define GUESTS      10

/* Guests answer when the gate is open. */
static struct {
        struct loop *loop;
        struct lanes *lanes;
        GMutex lock;
        GCond changed;
        bool open;
        unsigned inside, most_inside; /* jobs that run */
        unsigned done, cancelled;
} rig;

static int wait_at_the_gate(void *userdata)
{
        g_mutex_lock(&rig.lock);
        rig.inside++;
        rig.most_inside = MAX(rig.most_inside, rig.inside);
        while (!rig.open)
                g_cond_wait(&rig.changed, &rig.lock);
        rig.inside--;
        g_mutex_unlock(&rig.lock);
        return 0;
}

static int answer_at_once(void *userdata)
{
        return 0;
}

/* It takes at least the microsecond of patience that such jobs are given. */
static int take_a_while(void *userdata)
{
        gint64 begun = g_get_monotonic_time();

        while (g_get_monotonic_time() - begun < 2)
                ;
        return 0;
}

static void on_done(int result, void *userdata)
{
        unsigned *own = userdata;

        rig.done++;
        rig.cancelled += result == -ECANCELED;
        if (own)
                ++*own;
}

static void submit(const char *guest, int (*work)(void *userdata), uint64_t patience_us, unsigned *own)
{
        lanes_submit(
                rig.lanes,
                &(struct lanes_job){.guest = guest, .patience_us = patience_us, .work = work, .done = on_done, .userdata = own});
}

static void run_until(const unsigned *counter, unsigned n)
{
        while (*counter < n)
                g_assert_cmpint(loop_run_once(rig.loop, PATIENCE_US), >, 0);
}

static void set_gate(bool open)
{
        g_mutex_lock(&rig.lock);
        rig.open = open;
        g_cond_broadcast(&rig.changed);
        g_mutex_unlock(&rig.lock);
}

static void set_up(void)
{
        rig.open = false;
        rig.inside = rig.most_inside = rig.done = rig.cancelled = 0;
        g_assert_cmpint(loop_new(&rig.loop), ==, 0);
        g_assert_cmpint(lanes_new(rig.loop, &rig.lanes), ==, 0);
}

static void tear_down(void)
{
        set_gate(true);
        rig.lanes = lanes_free(rig.lanes);
        loop_free(rig.loop);
}

static void name_guest(char name[16], unsigned i)
{
        g_snprintf(name, 16, "evil-%u", i);
}

static void submit_to_all(int (*work)(void *userdata), uint64_t patience_us)
{
        char name[16];

        for (unsigned i = 0; i < GUESTS; i++) {
                name_guest(name, i);
                submit(name, work, patience_us, NULL);
        }
}

static void one_job_of_a_guest_at_a_time(void)
{
        set_up();
        set_gate(true);
        for (unsigned i = 0; i < 20; i++)
                submit("one", wait_at_the_gate, PATIENCE_US, NULL);
        run_until(&rig.done, 20);
        g_assert_cmpuint(rig.most_inside, ==, 1);
        tear_down();
}

static void a_guest_that_does_not_answer_holds_up_only_itself(void)
{
        unsigned others = 0;

        set_up();
        for (unsigned i = 0; i < 20; i++)
                submit("evil", wait_at_the_gate, PATIENCE_US, NULL);
        submit("honest", answer_at_once, PATIENCE_US, &others);
        run_until(&others, 1);
        g_assert_cmpuint(rig.done, ==, 1);
        tear_down();
}

/* They are known from their first job; the ordinary guest is asked while not one of them answers. */
static void many_that_let_us_wait_share_few_threads(void)
{
        unsigned others = 0;

        set_up();
        submit_to_all(take_a_while, 1);
        run_until(&rig.done, GUESTS);
        submit_to_all(wait_at_the_gate, PATIENCE_US);
        submit("honest", answer_at_once, PATIENCE_US, &others);
        submit(NULL, answer_at_once, 0, &others); /* of the host */
        run_until(&others, 2);
        g_assert_cmpuint(rig.done, ==, GUESTS + 2);
        set_gate(true);
        run_until(&rig.done, 2 * GUESTS + 2);
        g_assert_cmpuint(rig.most_inside, <=, LANES_SLOW);
        tear_down();
}

static void answers_in_time_are_believed_after_a_few(void)
{
        static const struct {
                unsigned answers, at_once; /* that were given in time; how many of the next run beside each other */
        } table[] = {{LANES_MEMORY - 1, LANES_SLOW}, {LANES_MEMORY, LANES_THREADS}};

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                set_up();
                submit_to_all(take_a_while, 1);
                for (unsigned n = 0; n < table[i].answers; n++)
                        submit_to_all(answer_at_once, PATIENCE_US);
                run_until(&rig.done, GUESTS * (1 + table[i].answers));
                submit_to_all(wait_at_the_gate, PATIENCE_US);
                g_mutex_lock(&rig.lock);
                while (rig.inside < table[i].at_once) {
                        g_mutex_unlock(&rig.lock);
                        g_thread_yield();
                        g_mutex_lock(&rig.lock);
                }
                g_mutex_unlock(&rig.lock);
                set_gate(true);
                run_until(&rig.done, GUESTS * (2 + table[i].answers));
                g_assert_cmpuint(rig.most_inside, >=, table[i].at_once);
                if (table[i].at_once == LANES_SLOW)
                        g_assert_cmpuint(rig.most_inside, ==, LANES_SLOW);
                tear_down();
        }
}

static void what_waits_is_cancelled_at_the_end(void)
{
        set_up();
        submit_to_all(answer_at_once, PATIENCE_US);
        for (unsigned i = 0; i < 5; i++)
                submit("evil-0", answer_at_once, PATIENCE_US, NULL);
        rig.lanes = lanes_free(rig.lanes);
        g_assert_cmpuint(rig.done, ==, GUESTS + 5);
        g_assert_cmpuint(rig.cancelled, >=, 5);
        tear_down();
}

/* Names of guests that are gone are not kept. */
static void any_number_of_guests_is_served(void)
{
        set_up();
        for (unsigned i = 0; i < 1000; i++) {
                char name[16];

                name_guest(name, i);
                submit(name, i % 3 ? answer_at_once : take_a_while, i % 3 ? PATIENCE_US : 1, NULL);
        }
        run_until(&rig.done, 1000);
        tear_down();
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/lanes/one-at-a-time", one_job_of_a_guest_at_a_time);
        g_test_add_func("/lanes/only-itself", a_guest_that_does_not_answer_holds_up_only_itself);
        g_test_add_func("/lanes/slow-ones-share", many_that_let_us_wait_share_few_threads);
        g_test_add_func("/lanes/believed-again", answers_in_time_are_believed_after_a_few);
        g_test_add_func("/lanes/cancelled", what_waits_is_cancelled_at_the_end);
        g_test_add_func("/lanes/many", any_number_of_guests_is_served);
        return g_test_run();
}
