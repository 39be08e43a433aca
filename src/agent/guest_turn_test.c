/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest_turn.h"

#include <glib.h>

#define S 1000000ull

static const struct guest_answer seen = {.connected = true}, absent = {}, silent = {.waited = true},
                                 seed = {.connected = true, .soon = true}, half = {.connected = true, .waited = true, .soon = true};

static uint64_t ask(struct guest_turn *turn, uint64_t now, uint64_t took, const struct guest_answer *answer)
{
        g_assert_true(guest_turn_is_due(turn, now));
        guest_turn_begin(turn, now);
        g_assert_false(guest_turn_is_due(turn, now + 1000 * S));
        guest_turn_end(turn, now + took, answer);
        return turn->due_us - (now + took);
}

static void each_answer_has_its_pause(void)
{
        static const struct {
                const struct guest_answer *answer;
                uint64_t pause_us;
        } table[] = {{&seen, 60 * S}, {&absent, 10 * S}, {&silent, 5 * S}, {&seed, 10 * S}, {&half, 5 * S}, {NULL, 10 * S}};

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                struct guest_turn turn = {};

                g_assert_cmpuint(ask(&turn, 1000 * S, S, table[i].answer), ==, table[i].pause_us);
        }
}

static void one_that_lets_us_wait_is_asked_less_often_but_once_a_minute(void)
{
        static const uint64_t pauses[] = {5 * S, 10 * S, 20 * S, 40 * S, 60 * S, 60 * S, 60 * S};
        struct guest_turn turn = {};
        uint64_t now = 1000 * S;

        for (size_t i = 0; i < G_N_ELEMENTS(pauses); i++) {
                g_assert_cmpuint(ask(&turn, now, 6 * S, &silent), ==, pauses[i]);
                now = turn.due_us;
        }
        /* libvirt was away: nothing was learnt of it. */
        g_assert_cmpuint(ask(&turn, now, S, NULL), ==, 60 * S);
        g_assert_cmpuint(ask(&turn, turn.due_us, S, &seen), ==, 60 * S);
        g_assert_cmpuint(ask(&turn, turn.due_us, 6 * S, &silent), ==, 5 * S);
}

static void an_agent_that_comes_late_is_asked_at_once(void)
{
        struct guest_turn turn = {};

        ask(&turn, 1000 * S, 0, &absent);
        guest_turn_look(&turn, 1003 * S);
        g_assert_true(guest_turn_is_due(&turn, 1003 * S));
        /* Also after hours of silence. */
        turn = (struct guest_turn){};
        for (uint64_t now = 1000 * S; now < 9000 * S; now = turn.due_us)
                ask(&turn, now, 6 * S, &silent);
        guest_turn_look(&turn, turn.asked_us + 11 * S);
        g_assert_cmpuint(ask(&turn, turn.asked_us + 11 * S, 6 * S, &silent), ==, 10 * S);
}

/* The channel was opened while an older question was under way, whose answer is that nobody is there. */
static void news_while_it_is_asked_are_not_lost(void)
{
        struct guest_turn turn = {};

        guest_turn_begin(&turn, 1000 * S);
        guest_turn_look(&turn, 1000 * S + 1);
        guest_turn_end(&turn, 1000 * S + 2, &absent);
        g_assert_true(guest_turn_is_due(&turn, 1001 * S));
}

/* Channels opened and closed a thousand times a second. */
static void news_without_end_are_no_questions_without_end(void)
{
        static const struct {
                const struct guest_answer *answer;
                uint64_t took_us;
                unsigned most;
        } table[] = {{&seen, 1000, 101}, {&absent, 0, 101}, {&silent, 3 * S, 21}};

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                struct guest_turn turn = {};
                unsigned asked = 0;

                for (uint64_t now = 1000 * S; now < 1100 * S; now += 1000) {
                        guest_turn_look(&turn, now);
                        if (turn.asking && now >= turn.asked_us + table[i].took_us)
                                guest_turn_end(&turn, now, table[i].answer);
                        if (guest_turn_is_due(&turn, now)) {
                                guest_turn_begin(&turn, now);
                                asked++;
                        }
                }
                g_assert_cmpuint(asked, <=, table[i].most);
                g_assert_cmpuint(asked, >=, 15);
        }
}

static void a_frozen_guest_is_asked_later(void)
{
        struct guest_turn turn = {};

        guest_turn_later(&turn, 1000 * S);
        g_assert_false(guest_turn_is_due(&turn, 1009 * S));
        g_assert_true(guest_turn_is_due(&turn, 1010 * S));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/guest-turn/pauses", each_answer_has_its_pause);
        g_test_add_func("/guest-turn/waits", one_that_lets_us_wait_is_asked_less_often_but_once_a_minute);
        g_test_add_func("/guest-turn/late", an_agent_that_comes_late_is_asked_at_once);
        g_test_add_func("/guest-turn/news-meanwhile", news_while_it_is_asked_are_not_lost);
        g_test_add_func("/guest-turn/news-without-end", news_without_end_are_no_questions_without_end);
        g_test_add_func("/guest-turn/frozen", a_frozen_guest_is_asked_later);
        return g_test_run();
}
