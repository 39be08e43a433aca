/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "loop/loop.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_PATIENCE_US 10000000

struct fixture {
        struct loop *loop;
        struct loop_source *source, *other;
        GString *trace;
        int counter;
        int fds[2];
};

static struct fixture *fixture_new(void)
{
        struct fixture *f = g_new0(struct fixture, 1);
        f->fds[0] = f->fds[1] = -1;
        f->trace = g_string_new(NULL);
        g_assert_cmpint(loop_new(&f->loop), ==, 0);
        return f;
}

static void fixture_free(struct fixture *f)
{
        loop_source_free(f->source);
        loop_source_free(f->other);
        for (int i = 0; i < 2; i++) {
                if (f->fds[i] >= 0)
                        close(f->fds[i]);
        }
        g_string_free(f->trace, TRUE);
        loop_free(f->loop);
        g_free(f);
}

static void run_until(struct fixture *f, const char *trace)
{
        while (!g_str_equal(f->trace->str, trace))
                g_assert_cmpint(loop_run_once(f->loop, TEST_PATIENCE_US), >, 0);
}

static void on_fd(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct fixture *f = userdata;
        char c;

        if (events & LOOP_READ && read(fd, &c, 1) == 1)
                g_string_append_c(f->trace, c);
        if (events & LOOP_HANGUP) {
                g_string_append_c(f->trace, '!');
                f->source = loop_source_free(f->source);
        }
}

static void fd_reports_bytes_then_hangup_and_is_freed_within_its_callback(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), ==, 0);
        g_assert_cmpint(loop_fd(f->loop, f->fds[0], LOOP_READ | LOOP_HANGUP, on_fd, f, &f->source), ==, 0);
        g_assert_cmpint(write(f->fds[1], "ab", 2), ==, 2);
        run_until(f, "ab");
        close(f->fds[1]);
        f->fds[1] = -1;
        run_until(f, "ab!");
        g_assert_null(f->source);
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        fixture_free(f);
}

static void fd_without_events_still_reports_hangup(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), ==, 0);
        g_assert_cmpint(loop_fd(f->loop, f->fds[0], LOOP_READ, on_fd, f, &f->source), ==, 0);
        g_assert_cmpint(loop_fd_set(f->source, 0), ==, 0);
        g_assert_cmpint(write(f->fds[1], "x", 1), ==, 1);
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        close(f->fds[1]);
        f->fds[1] = -1;
        run_until(f, "!");
        fixture_free(f);
}

static void on_fd_that_frees_the_other(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct fixture *f = userdata;

        g_string_append_c(f->trace, '1');
        f->source = loop_source_free(f->source);
        f->other = loop_source_free(f->other);
}

static void of_two_ready_sources_one_may_free_both(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), ==, 0);
        g_assert_cmpint(write(f->fds[0], "a", 1), ==, 1);
        g_assert_cmpint(write(f->fds[1], "b", 1), ==, 1);
        g_assert_cmpint(loop_fd(f->loop, f->fds[0], LOOP_READ, on_fd_that_frees_the_other, f, &f->source), ==, 0);
        g_assert_cmpint(loop_fd(f->loop, f->fds[1], LOOP_READ, on_fd_that_frees_the_other, f, &f->other), ==, 0);
        run_until(f, "1");
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        fixture_free(f);
}

static void on_fd_that_silences_the_other(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct fixture *f = userdata;

        g_string_append_c(f->trace, '1');
        loop_fd_set(f->source, 0);
        loop_fd_set(f->other, 0);
}

static void of_two_ready_sources_one_may_silence_the_other(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), ==, 0);
        g_assert_cmpint(write(f->fds[0], "a", 1), ==, 1);
        g_assert_cmpint(write(f->fds[1], "b", 1), ==, 1);
        g_assert_cmpint(loop_fd(f->loop, f->fds[0], LOOP_READ, on_fd_that_silences_the_other, f, &f->source), ==, 0);
        g_assert_cmpint(loop_fd(f->loop, f->fds[1], LOOP_READ, on_fd_that_silences_the_other, f, &f->other), ==, 0);
        run_until(f, "1");
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        fixture_free(f);
}

static void append_letter(struct loop_source *source, void *userdata)
{
        struct fixture *f = userdata;
        g_string_append_c(f->trace, 't');
}

static void append_and_rearm(struct loop_source *source, void *userdata)
{
        struct fixture *f = userdata;

        g_string_append_c(f->trace, 'r');
        if (++f->counter < 3)
                g_assert_cmpint(loop_timer_set(source, 100), ==, 0);
}

static void timer_fires_once_and_rearms_from_its_callback(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(loop_timer(f->loop, 0, append_and_rearm, f, &f->source), ==, 0);
        run_until(f, "rrr");
        g_assert_cmpint(loop_run_once(f->loop, 3000), ==, 0);
        fixture_free(f);
}

static void timer_that_is_disarmed_does_not_fire(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(loop_timer(f->loop, UINT64_MAX, append_letter, f, &f->source), ==, 0);
        g_assert_cmpint(loop_run_once(f->loop, 2000), ==, 0);
        g_assert_cmpint(loop_timer_set(f->source, 1000), ==, 0);
        g_assert_cmpint(loop_timer_set(f->source, UINT64_MAX), ==, 0);
        g_assert_cmpint(loop_run_once(f->loop, 4000), ==, 0);
        g_assert_cmpint(loop_timer_set(f->source, UINT64_MAX - 2), ==, 0);
        g_assert_cmpint(loop_run_once(f->loop, 1000), ==, 0);
        g_assert_cmpstr(f->trace->str, ==, "");
        fixture_free(f);
}

static void append_defer(struct loop_source *source, void *userdata)
{
        struct fixture *f = userdata;

        g_string_append_c(f->trace, 'd');
        if (f->counter-- > 0)
                loop_defer_set(source, true);
}

static void defer_runs_once_per_arming_and_does_not_starve_io(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), ==, 0);
        g_assert_cmpint(loop_fd(f->loop, f->fds[0], LOOP_READ, on_fd, f, &f->other), ==, 0);
        g_assert_cmpint(loop_defer(f->loop, append_defer, f, &f->source), ==, 0);
        run_until(f, "d");
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        f->counter = 100;
        loop_defer_set(f->source, true);
        g_assert_cmpint(write(f->fds[1], "i", 1), ==, 1);
        while (!strchr(f->trace->str, 'i'))
                g_assert_cmpint(loop_run_once(f->loop, 0), >, 0);
        g_assert_cmpuint(f->trace->len, <, 8);
        fixture_free(f);
}

static void signal_is_reported_on_the_loop(void)
{
        struct fixture *f = fixture_new();
        g_assert_cmpint(loop_signal(f->loop, SIGUSR1, append_letter, f, &f->source), ==, 0);
        kill(getpid(), SIGUSR1);
        run_until(f, "t");
        fixture_free(f);
}

static void on_child(struct loop_source *source, pid_t pid, int status, void *userdata)
{
        struct fixture *f = userdata;

        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 7);
        g_string_append_c(f->trace, 'c');
        f->source = loop_source_free(source);
}

static void child_end_carries_its_status(void)
{
        struct fixture *f = fixture_new();
        pid_t pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
                _exit(7);
        g_assert_cmpint(loop_child(f->loop, pid, on_child, f, &f->source), ==, 0);
        run_until(f, "c");
        g_assert_cmpint(waitpid(pid, NULL, WNOHANG), ==, -1);
        fixture_free(f);
}

static void post_count(void *userdata)
{
        struct fixture *f = userdata;
        f->counter++;
}

static void *post_thread(void *userdata)
{
        struct fixture *f = userdata;

        for (int i = 0; i < 500; i++)
                loop_post(f->loop, post_count, f);
        return NULL;
}

static void posts_of_many_threads_all_run_on_the_loop(void)
{
        struct fixture *f = fixture_new();
        GThread *threads[4];
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("post", post_thread, f);
        while (f->counter < 2000)
                g_assert_cmpint(loop_run_once(f->loop, TEST_PATIENCE_US), >, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);
        loop_post(f->loop, post_count, f); /* never run: the loop ends first */
        fixture_free(f);
}

static void exit_gives_the_code_of_the_loop_to_a_post(void *userdata)
{
        struct fixture *f = userdata;
        loop_exit(f->loop, 3);
}

static void run_returns_the_code_of_exit(void)
{
        struct fixture *f = fixture_new();
        loop_post(f->loop, exit_gives_the_code_of_the_loop_to_a_post, f);
        g_assert_cmpint(loop_run(f->loop), ==, 3);
        fixture_free(f);
}

struct job {
        struct fixture *f;
        struct loop_pool *pool;
        GMutex *gate;
        int value, result;
        bool done;
};

static int job_work(void *userdata)
{
        struct job *job = userdata;

        if (job->gate) {
                g_mutex_lock(job->gate);
                g_mutex_unlock(job->gate);
        }
        return job->value * 2;
}

static void job_done(int result, void *userdata)
{
        struct job *job = userdata;

        g_assert_false(job->done);
        job->done = true;
        job->result = result;
        job->f->counter++;
        if (job->pool)
                loop_pool_free(job->pool);
}

static void pool_gives_every_result_back_on_the_loop(void)
{
        struct fixture *f = fixture_new();
        struct loop_pool *pool;
        struct job jobs[50] = {0};
        g_assert_cmpint(loop_pool_new(f->loop, 3, &pool), ==, 0);
        for (int i = 0; i < 50; i++) {
                jobs[i] = (struct job){.f = f, .value = i};
                loop_pool_submit(pool, job_work, job_done, &jobs[i]);
        }
        while (f->counter < 50)
                g_assert_cmpint(loop_run_once(f->loop, TEST_PATIENCE_US), >, 0);
        for (int i = 0; i < 50; i++)
                g_assert_cmpint(jobs[i].result, ==, i * 2);
        loop_pool_free(pool);
        fixture_free(f);
}

static void *open_gate(void *userdata)
{
        g_usleep(2000);
        g_mutex_unlock(userdata);
        return NULL;
}

static void freeing_a_pool_waits_for_running_jobs_and_cancels_queued_ones(void)
{
        struct fixture *f = fixture_new();
        struct loop_pool *pool;
        GMutex gate;
        g_mutex_init(&gate);
        struct job jobs[3] = {0};
        g_assert_cmpint(loop_pool_new(f->loop, 1, &pool), ==, 0);
        g_mutex_lock(&gate);
        for (int i = 0; i < 3; i++) {
                jobs[i] = (struct job){.f = f, .value = 5, .gate = &gate};
                loop_pool_submit(pool, job_work, job_done, &jobs[i]);
        }
        GThread *opener = g_thread_new("gate", open_gate, &gate);
        loop_pool_free(pool);
        g_thread_join(opener);
        g_assert_cmpint(f->counter, ==, 3);
        g_assert_cmpint(jobs[2].result, ==, -ECANCELED);
        g_mutex_clear(&gate);
        fixture_free(f);
}

static void a_pool_may_be_freed_by_the_end_of_its_job(void)
{
        struct fixture *f = fixture_new();
        struct loop_pool *pool;
        g_assert_cmpint(loop_pool_new(f->loop, 2, &pool), ==, 0);
        struct job job = {.f = f, .pool = pool, .value = 1};
        loop_pool_submit(pool, job_work, job_done, &job);
        while (!job.done)
                g_assert_cmpint(loop_run_once(f->loop, TEST_PATIENCE_US), >, 0);
        g_assert_cmpint(loop_run_once(f->loop, 0), ==, 0);
        fixture_free(f);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/loop/fd_reports_bytes_then_hangup_and_is_freed_within_its_callback",
                        fd_reports_bytes_then_hangup_and_is_freed_within_its_callback);
        g_test_add_func("/loop/fd_without_events_still_reports_hangup", fd_without_events_still_reports_hangup);
        g_test_add_func("/loop/of_two_ready_sources_one_may_free_both", of_two_ready_sources_one_may_free_both);
        g_test_add_func("/loop/of_two_ready_sources_one_may_silence_the_other", of_two_ready_sources_one_may_silence_the_other);
        g_test_add_func("/loop/timer_fires_once_and_rearms_from_its_callback", timer_fires_once_and_rearms_from_its_callback);
        g_test_add_func("/loop/timer_that_is_disarmed_does_not_fire", timer_that_is_disarmed_does_not_fire);
        g_test_add_func("/loop/defer_runs_once_per_arming_and_does_not_starve_io",
                        defer_runs_once_per_arming_and_does_not_starve_io);
        g_test_add_func("/loop/signal_is_reported_on_the_loop", signal_is_reported_on_the_loop);
        g_test_add_func("/loop/child_end_carries_its_status", child_end_carries_its_status);
        g_test_add_func("/loop/posts_of_many_threads_all_run_on_the_loop", posts_of_many_threads_all_run_on_the_loop);
        g_test_add_func("/loop/run_returns_the_code_of_exit", run_returns_the_code_of_exit);
        g_test_add_func("/loop/pool_gives_every_result_back_on_the_loop", pool_gives_every_result_back_on_the_loop);
        g_test_add_func("/loop/freeing_a_pool_waits_for_running_jobs_and_cancels_queued_ones",
                        freeing_a_pool_waits_for_running_jobs_and_cancels_queued_ones);
        g_test_add_func("/loop/a_pool_may_be_freed_by_the_end_of_its_job", a_pool_may_be_freed_by_the_end_of_its_job);
        return g_test_run();
}
