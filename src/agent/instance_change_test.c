/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_change.h"

/* An Instance of two cores and 1 GiB, and what its host told last. */
struct sample {
        struct api_instance_cpu cpu;
        struct api_instance_spec spec;
        struct api_instance instance;
        struct api_instance_refusal refused;
        struct api_instance_status told;
};

static void sample_init(struct sample *s)
{
        *s = (struct sample){
                .cpu = {.cores = 2, .has_cores = true, .core_fraction_percent = 20, .has_core_fraction_percent = true},
                .spec = {.epoch = 3, .memory_mib = 1024, .has_memory_mib = true},
                .told = {.epoch = 3,
                         .has_epoch = true,
                         .state = "running",
                         .cores = 2,
                         .has_cores = true,
                         .memory_mib = 1024,
                         .has_memory_mib = true,
                         .core_fraction_percent = 20,
                         .has_core_fraction_percent = true},
        };
        s->spec.cpu = &s->cpu;
        s->instance.spec = &s->spec;
}

static void as_it_is(struct sample *s)
{
}
static void more_cores(struct sample *s)
{
        s->cpu.cores = 4;
}
static void more_memory(struct sample *s)
{
        s->spec.memory_mib = 2048;
}
static void another_share(struct sample *s)
{
        s->cpu.core_fraction_percent = 50;
}
static void never_told(struct sample *s)
{
        s->told.has_cores = false;
        s->told.cores = 0;
}
static void of_a_former_start(struct sample *s)
{
        more_cores(s);
        s->spec.epoch = 4;
}
static void while_it_is_off(struct sample *s)
{
        more_cores(s);
        s->told.state = "shutoff";
}
static void while_it_is_paused(struct sample *s)
{
        more_cores(s);
        s->told.state = "paused";
}
static void refused_before(struct sample *s)
{
        more_cores(s);
        s->refused = (struct api_instance_refusal){.cores = 4, .memory_mib = 1024, .message = "no"};
        s->told.growth_refused = &s->refused;
}
static void something_else_was_refused(struct sample *s)
{
        refused_before(s);
        s->refused.cores = 3;
}
static void what_was_refused_is_not_ordered_any_more(struct sample *s)
{
        refused_before(s);
        s->cpu.cores = s->told.cores;
}

static void a_look_is_due_when_the_size_is_not_what_was_told(void)
{
        static const struct {
                void (*change)(struct sample *s);
                bool due;
        } cases[] = {
                {as_it_is, false},
                {more_cores, true},
                {more_memory, true},
                {another_share, true},
                {never_told, true},
                {of_a_former_start, false},
                {while_it_is_off, false},
                {while_it_is_paused, true},
                {refused_before, false},
                {something_else_was_refused, true},
                {what_was_refused_is_not_ordered_any_more, true},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct sample s;

                sample_init(&s);
                cases[i].change(&s);
                g_test_message("%zu", i);
                g_assert_cmpint(instance_change_due(&s.instance, &s.told), ==, cases[i].due);
                g_assert_false(instance_change_due(&s.instance, NULL));
        }
}

/* The status says what runs, never what is wanted. */
static void the_size_is_told_as_it_was_noted_else_as_it_was_told(void)
{
        struct virt_domain domain = {.vcpus = 3, .memory_mib = 1536};
        struct api_instance_status status = {0};
        g_autoptr(arena) arena = arena_new(0);
        struct sample s;
        struct job job = {.arena = arena, .told = &s.told};
        struct instance_turn turn = {.job = &job, .exists = true, .entry = {.active = true}, .fact = {.epoch = 3}};

        sample_init(&s);
        more_cores(&s);
        another_share(&s);
        turn.instance = &s.instance;
        instance_tell_size(&turn, &status);
        g_assert_cmpint(status.cores, ==, 2);
        g_assert_cmpint(status.core_fraction_percent, ==, 20);
        instance_note_size(&turn, &domain);
        instance_tell_size(&turn, &status);
        g_assert_cmpint(status.cores, ==, 3);
        g_assert_cmpint(status.memory_mib, ==, 1536);
        g_assert_cmpint(status.core_fraction_percent, ==, 50);
        refused_before(&s);
        turn.refused = &s.refused;
        instance_tell_size(&turn, &status);
        g_assert_cmpint(status.core_fraction_percent, ==, 20);
        g_assert_cmpstr(status.growth_refused->message, ==, "no");
        turn.cores = 0;
        turn.fact.epoch = 4; /* of another start */
        status = (struct api_instance_status){0};
        instance_tell_size(&turn, &status);
        g_assert_false(status.has_cores);
        turn.fact.epoch = 3;
        turn.entry.active = false;
        instance_tell_size(&turn, &status);
        g_assert_false(status.has_cores);
}

/* What the host refused is not asked of libvirt again. */
static void what_was_refused_is_not_tried_again(void)
{
        struct virt_domain wanted = {.vcpus = 4, .memory_mib = 1024}, found = {.vcpus = 2, .memory_mib = 1024};
        g_autoptr(arena) arena = arena_new(0);
        struct sample s;
        struct job job = {.arena = arena, .told = &s.told}; /* without a libvirt that could be asked */
        struct instance_turn turn = {.job = &job, .instance = &s.instance, .exists = true, .fact = {.epoch = 3}};

        sample_init(&s);
        g_assert_cmpint(instance_grow(&turn, &found, &found), ==, INSTANCE_AS_IT_WAS);
        g_assert_cmpint(instance_grow(&turn, &found, &wanted), ==, INSTANCE_AS_IT_WAS); /* nothing is taken away */
        refused_before(&s);
        g_assert_cmpint(instance_grow(&turn, &wanted, &found), ==, INSTANCE_REFUSED);
        g_assert_true(turn.refused == &s.refused);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/change/a_look_is_due_when_the_size_is_not_what_was_told",
                        a_look_is_due_when_the_size_is_not_what_was_told);
        g_test_add_func("/change/the_size_is_told_as_it_was_noted_else_as_it_was_told",
                        the_size_is_told_as_it_was_noted_else_as_it_was_told);
        g_test_add_func("/change/what_was_refused_is_not_tried_again", what_was_refused_is_not_tried_again);
        return g_test_run();
}
