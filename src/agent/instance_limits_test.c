/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_limits.h"

/* --- when a look at what runs is due --- */

/* An Instance of one or two disks and what its host told last. */
struct sample {
        struct api_instance_disk_limits wanted, told_limits;
        struct api_instance_disk disks[2];
        struct api_instance_disk_state state;
        struct api_instance_spec spec;
        struct api_instance instance;
        struct api_instance_status told;
};

static void sample_init(struct sample *s)
{
        *s = (struct sample){
                .wanted = {.read_bytes = 65536, .has_read_bytes = true},
                .disks = {{.name = "vd-root"}, {.name = "vd-data"}},
                .spec = {.epoch = 3, .n_disks = 2},
                .told = {.epoch = 3, .has_epoch = true, .state = "running"},
        };
        s->told_limits = s->wanted;
        s->state = (struct api_instance_disk_state){.name = "vd-data", .limits = &s->told_limits};
        s->disks[1].limits = &s->wanted;
        s->spec.disks = s->disks;
        s->told.disks = &s->state;
        s->told.n_disks = 1;
        s->instance.spec = &s->spec;
}

static void as_it_was(struct sample *s)
{
}
static void another_number(struct sample *s)
{
        s->wanted.read_bytes = 65537;
}
static void another_field(struct sample *s)
{
        s->wanted = (struct api_instance_disk_limits){.total_bytes = 65536, .has_total_bytes = true};
}
static void taken_away(struct sample *s)
{
        s->disks[1].limits = NULL;
}
static void never_told(struct sample *s)
{
        s->told.n_disks = 0;
}
static void of_another_disk(struct sample *s)
{
        s->state.name = "vd-root";
}
static void none_at_all(struct sample *s)
{
        s->disks[1].limits = NULL;
        s->told.n_disks = 0;
}
static void before_the_start(struct sample *s)
{
        never_told(s);
        s->spec.epoch = 4;
}
static void while_it_is_off(struct sample *s)
{
        never_told(s);
        s->told.state = "shutoff";
}
static void while_it_is_paused(struct sample *s)
{
        never_told(s);
        s->told.state = "paused";
}

static void a_look_is_due_when_the_order_is_not_what_was_told(void)
{
        static const struct {
                void (*change)(struct sample *s);
                bool due;
        } cases[] = {
                {as_it_was, false},       {another_number, true},     {another_field, true}, {taken_away, true},
                {never_told, true},       {of_another_disk, true},    {none_at_all, false},  {before_the_start, false},
                {while_it_is_off, false}, {while_it_is_paused, true},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct sample s;

                sample_init(&s);
                cases[i].change(&s);
                g_test_message("case %zu", i);
                g_assert_cmpint(instance_limits_changed(&s.instance, &s.told), ==, cases[i].due);
                g_assert_false(instance_limits_changed(&s.instance, NULL));
        }
}

/* --- what is told --- */

static void limits_are_told_as_they_were_noted_else_as_they_were_told(void)
{
        struct virt_disk disks[] = {{.name = "vd-free"},
                                    {.name = "vd-slow", .limits = {.most = {[VIRT_LIMIT_WRITE_OPERATIONS] = 10}}}};
        struct virt_domain domain = {.disks = disks, .n_disks = 2};
        struct api_instance_status status = {0};
        g_autoptr(arena) arena = arena_new(0);
        struct sample s;
        struct job job = {.arena = arena, .told = &s.told};
        struct instance_turn turn = {.job = &job, .exists = true, .entry = {.active = true}, .fact = {.epoch = 3}};

        sample_init(&s);
        instance_tell_limits(&turn, &status);
        g_assert_true(status.n_disks == 1 && status.disks == s.told.disks);
        instance_note_limits(&turn, &domain);
        instance_tell_limits(&turn, &status);
        g_assert_cmpuint(status.n_disks, ==, 1);
        g_assert_cmpstr(status.disks[0].name, ==, "vd-slow");
        g_assert_cmpint(status.disks[0].limits->write_operations, ==, 10);
        g_assert_true(status.disks[0].limits->has_write_operations && !status.disks[0].limits->has_total_bytes);
        domain.n_disks = 1;
        instance_note_limits(&turn, &domain);
        instance_tell_limits(&turn, &status);
        g_assert_true(status.n_disks == 0 && !status.disks);
        turn.entry.active = false;
        turn.limits_known = false;
        status = (struct api_instance_status){0};
        instance_tell_limits(&turn, &status);
        g_assert_true(status.n_disks == 0 && !status.disks);
        turn.entry.active = true;
        turn.fact.epoch = 4; /* of another start */
        instance_tell_limits(&turn, &status);
        g_assert_true(status.n_disks == 0 && !status.disks);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/limits/a_look_is_due_when_the_order_is_not_what_was_told",
                        a_look_is_due_when_the_order_is_not_what_was_told);
        g_test_add_func("/limits/limits_are_told_as_they_were_noted_else_as_they_were_told",
                        limits_are_told_as_they_were_noted_else_as_they_were_told);
        return g_test_run();
}
