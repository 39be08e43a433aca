/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "generated/api_types.h"
#include "store/world_test.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/*
 * A process that writes and acknowledges is killed at any point, again and again on the same database: every acknowledged write is
 * there afterwards, and the log has no gap.
 */
#define MAPS     (&api_config_map_kind)
#define N_ROUNDS 20
#define N_FLIGHT 16
#define N_KEYS   40

/* --- the process that is killed: "--writer PATH FD FIRST"
 * ---------------------------------------------------------------------------- */

struct writing {
        struct store *store;
        int fd;
        uint32_t next;
        uint32_t numbers[N_FLIGHT]; /* in flight */
};

struct slot {
        struct writing *writing;
        unsigned index;
};

static void writing_begin(struct slot *slot);

static void writing_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct slot *slot = userdata;

        /* The acknowledgement: the number of the write leaves the process. */
        if (result < 0 || fd_write_all(slot->writing->fd, &slot->writing->numbers[slot->index], sizeof(uint32_t)) < 0)
                _exit(3);
        writing_begin(slot);
}

static void writing_begin(struct slot *slot)
{
        struct writing *writing = slot->writing;
        uint32_t number = writing->numbers[slot->index] = writing->next++;
        g_autofree char *text = g_strdup_printf("%u", number);
        /* Two objects in one transaction: never one without the other. */
        char *names[2] = {g_strdup_printf("k%u", number % N_KEYS), g_strdup_printf("twin%u", number % N_KEYS)};
        struct store_op ops[2];
        struct store_txn txn = {.ops = ops, .n_ops = 2};

        for (unsigned i = 0; i < 2; i++) {
                autostoreobject newest = store_get_newest(writing->store, MAPS, "ns", names[i]);

                ops[i] = (struct store_op){
                        .verb = newest ? STORE_UPDATE : STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = names[i]};
                ops[i].doc = world_doc(MAPS, "ns", names[i], text);
        }
        if (store_commit(writing->store, &txn, writing_done, slot, NULL) != 0)
                _exit(4);
        g_free(names[0]);
        g_free(names[1]);
}

static int write_until_killed(const char *path, int fd, uint32_t first)
{
        struct store_options options = {0};
        struct writing writing = {.fd = fd, .next = first};
        struct slot slots[N_FLIGHT];

        if (loop_new(&options.loop) < 0 || store_open_sqlite(path, &options, &writing.store) != 0)
                return 2;
        for (unsigned i = 0; i < N_FLIGHT; i++) {
                slots[i] = (struct slot){&writing, i};
                writing_begin(&slots[i]);
        }
        return loop_run(options.loop);
}

/* --- the test
 * ------------------------------------------------------------------------------------------------------------------------ */

static const char program[] = "/proc/self/exe";

struct expectation {
        uint32_t newest[N_KEYS]; /* acknowledged write per key, plus one; 0: none */
        uint32_t next;           /* number of the next process's first write */
};

static pid_t start_writer(const char *path, uint32_t first, int *ret_fd)
{
        g_autofree char *number = g_strdup_printf("%u", first);
        int fds[2];
        pid_t pid;

        g_assert_cmpint(pipe(fds), ==, 0);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                g_autofree char *fd = g_strdup_printf("%d", fds[1]);

                close(fds[0]);
                execl(program, program, "--writer", path, fd, number, NULL);
                _exit(127);
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static bool take_acknowledgement(int fd, struct expectation *expectation)
{
        uint32_t number;
        ssize_t n = read(fd, &number, sizeof(number));

        if (n == 0)
                return false;
        g_assert_cmpint(n, ==, sizeof(number));
        expectation->newest[number % N_KEYS] = MAX(expectation->newest[number % N_KEYS], number + 1);
        expectation->next = MAX(expectation->next, number + N_FLIGHT + 1);
        return true;
}

static void kill_after(struct world *w, unsigned acknowledgements, struct expectation *expectation)
{
        int fd, status;
        pid_t pid = start_writer(w->path, expectation->next, &fd);

        while (acknowledgements-- > 0)
                g_assert_true(take_acknowledgement(fd, expectation));
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status));
        while (take_acknowledgement(fd, expectation)) {
                /* What was acknowledged before the kill counts too. */
        }
        close(fd);
}

static void check_all(struct world *w, struct expectation *expectation)
{
        uint64_t newest;

        g_assert_cmpint(world_open(w), ==, 0);
        newest = store_revision(w->store);
        for (unsigned i = 0; i < N_KEYS; i++) {
                g_autofree char *name = g_strdup_printf("k%u", i);
                g_autofree char *twin = g_strdup_printf("twin%u", i);
                const char *text = world_text(w, MAPS, "ns", name);

                g_assert_cmpstr(world_text(w, MAPS, "ns", twin), ==, text);
                /* A later write may have become durable without its acknowledgement getting out. */
                if (expectation->newest[i])
                        g_assert_cmpint(strtoul(text, NULL, 10) + 1, >=, expectation->newest[i]);
        }
        world_close(w);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log"), ==, newest - 1);
        g_assert_cmpint(world_sql(w, "SELECT max(revision) FROM log"), ==, newest);
        g_assert_cmpint(world_sql(w, "SELECT count(*) FROM log a JOIN log b ON b.revision = a.previous WHERE a.key != b.key"), ==,
                        0);
        g_assert_cmpint(
                world_sql(
                        w,
                        "SELECT count(*) FROM objects o WHERE o.revision != (SELECT max(revision) FROM log l WHERE l.key = o.key)"),
                ==, 0);
}

static void test_every_acknowledged_write_survives_a_kill(void)
{
        uint64_t state = 42;
        struct random_source random = random_seeded(&state);
        g_autoptr(world) w = world_new(true);
        struct expectation expectation = {0};

        world_close(w);
        for (unsigned round = 0; round < N_ROUNDS; round++) {
                kill_after(w, (unsigned)random_below(&random, 120), &expectation);
                check_all(w, &expectation);
        }
        g_assert_cmpuint(expectation.next, >, N_ROUNDS);
        g_assert_cmpint(world_open(w), ==, 0);
}

int main(int argc, char **argv)
{
        if (argc == 5 && strcmp(argv[1], "--writer") == 0)
                return write_until_killed(argv[2], (int)strtol(argv[3], NULL, 10), (uint32_t)strtoul(argv[4], NULL, 10));
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store_kill/every_acknowledged_write_survives_a_kill", test_every_acknowledged_write_survives_a_kill);
        return g_test_run();
}
