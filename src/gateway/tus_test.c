/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/limits.h"
#include "gateway/ingest.h"
#include "gateway/staging.h"
#include "gateway/tus.h"
#include "gateway/upload_grant.h"
#include "generated/api_types.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the protocol's words
 * ----------------------------------------------------------------------------------------------------------------- */

static void a_number_is_decimal_digits_and_not_too_large(void)
{
        static const struct {
                const char *in;
                int r;
                uint64_t expect;
        } rows[] = {
                {"0", 0, 0},
                {"00012", 0, 12},
                {"9223372036854775807", 0, INT64_MAX},
                {"9223372036854775808", -EINVAL, 0},
                {"18446744073709551617", -EINVAL, 0},
                {"99999999999999999999999999", -EINVAL, 0},
                {"-1", -EINVAL, 0},
                {"+1", -EINVAL, 0},
                {" 1", -EINVAL, 0},
                {"1 ", -EINVAL, 0},
                {"1, 1", -EINVAL, 0},
                {"0x10", -EINVAL, 0},
                {"1e3", -EINVAL, 0},
                {"", -EINVAL, 0},
                {NULL, -EINVAL, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                uint64_t number = 0;

                g_assert_cmpint(tus_parse_number(rows[i].in, &number), ==, rows[i].r);
                g_assert_cmpuint(number, ==, rows[i].expect);
        }
}

static void metadata_is_keys_with_base64(void)
{
        static const struct {
                const char *in;
                bool valid;
        } rows[] = {
                {"filename d29ybGQ=", true},
                {"filename d29ybGQ=,is_confidential", true},
                {"a YQ==, b Yg==", true},
                {"is_confidential ", true},
                {"", false},
                {",", false},
                {"a YQ==,", false},
                {"a YQ==,a YQ==", false},
                {"a YQ=", false},
                {"a Y", false},
                {"a YQ==YQ==", false},
                {"a Y Q==", false},
                {"a \xc3\xa4", false},
                {"\xc3\xa4 YQ==", false},
                {"a <script>", false},
        };
        g_autofree char *large = g_strnfill(LIMIT_UPLOAD_METADATA_BYTES + 1, 'a');

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                if (tus_metadata_is_valid(rows[i].in) != rows[i].valid)
                        g_error("\"%s\"", rows[i].in);
        g_assert_false(tus_metadata_is_valid(large));
        large[LIMIT_UPLOAD_METADATA_BYTES] = 0;
        g_assert_true(tus_metadata_is_valid(large));
}

static void a_checksum_is_an_algorithm_and_a_digest_of_it(void)
{
        static const struct {
                const char *in;
                unsigned len;
        } rows[] = {
                {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", 20},
                {"sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 32},
                {"sha1 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 0},
                {"sha1", 0},
                {"sha1 ", 0},
                {"md5 1B2M2Y8AsgTpgAmY7PhCfg==", 0},
                {"crc32 AAAAAA==", 0},
                {"SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", 0},
                {"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ", 0},
                {"sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=", 0},
                {"", 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                struct tus_checksum checksum = {};
                int r = tus_parse_checksum(rows[i].in, &checksum);

                g_assert_cmpint(r, ==, rows[i].len ? 0 : -EINVAL);
                g_assert_cmpuint(checksum.len, ==, rows[i].len);
        }
}

static void a_date_is_that_of_http(void)
{
        char text[TUS_DATE_MAX];

        g_assert_cmpstr(tus_format_date(784111777ull * 1000000, text), ==, "Sun, 06 Nov 1994 08:49:37 GMT");
        g_assert_cmpstr(tus_format_date(1709210096ull * 1000000 + 999999, text), ==, "Thu, 29 Feb 2024 12:34:56 GMT");
}

/* --- tokens
 * --------------------------------------------------------------------------------------------------------------------------------
 */

struct world {
        char *dir;
        struct auth_seal *seal;
};

static void world_begin(struct world *world, const void *data)
{
        g_autofree char *key = NULL;

        world->dir = g_dir_make_tmp("gabbro-tus-XXXXXX", NULL);
        key = g_build_filename(world->dir, "seal.key", NULL);
        g_assert_cmpint(auth_seal_open(key, random_system(), &world->seal), ==, 0);
}

static void world_end(struct world *world, const void *data)
{
        auth_seal_free(world->seal);
        g_assert_cmpint(file_remove_tree(world->dir), ==, 0);
        g_free(world->dir);
}

static struct upload_grant grant_new(void)
{
        static const char *const groups[] = {"a", "system:authenticated", NULL};
        struct upload_grant grant = {
                .id = "0123456789abcdef0123456789abcdef",
                .kind = &api_virtual_image_kind,
                .namespace = g_strdup("shop"),
                .name = g_strdup("debian"),
                .uid = g_strdup("0d5c2f3e-0000-4000-8000-000000000001"),
                .identity = auth_identity_new(AUTH_USER, "anna", groups),
                .size_bytes = 1ull << 31,
                .expires_us = 1000000,
        };

        grant.identity->token_id = g_strdup("abcdefghij");
        memset(grant.sha256, 'a', 64);
        return grant;
}

static void a_token_says_what_was_granted(struct world *world, const void *data)
{
        struct upload_grant grant = grant_new(), back = {};
        g_autofree char *token = upload_grant_seal(&grant, world->seal);

        g_assert_cmpint(upload_grant_unseal(token, world->seal, &back), ==, 0);
        g_assert_cmpstr(back.id, ==, grant.id);
        g_assert_true(back.kind == grant.kind);
        g_assert_cmpstr(back.namespace, ==, "shop");
        g_assert_cmpstr(back.name, ==, "debian");
        g_assert_cmpstr(back.uid, ==, grant.uid);
        g_assert_true(auth_identity_equal(back.identity, grant.identity));
        g_assert_cmpstr(back.identity->token_id, ==, "abcdefghij");
        g_assert_cmpuint(back.size_bytes, ==, grant.size_bytes);
        g_assert_cmpstr(back.sha256, ==, grant.sha256);
        g_assert_cmpuint(back.expires_us, ==, 1000000);
        upload_grant_clear(&back);
        upload_grant_clear(&grant);
}

static void a_token_of_which_any_character_was_changed_is_none(struct world *world, const void *data)
{
        struct upload_grant grant = grant_new(), back = {};
        g_autofree char *token = upload_grant_seal(&grant, world->seal);

        for (size_t i = 0; token[i]; i++) {
                g_autofree char *other = g_strdup(token);

                other[i] = other[i] == 'A' ? 'B' : 'A';
                /* The last character of a base64 text holds bits that mean nothing. */
                if (token[i + 1] == 0)
                        continue;
                g_assert_cmpint(upload_grant_unseal(other, world->seal, &back), ==, -EBADMSG);
                other[i] = 0;
                g_assert_cmpint(upload_grant_unseal(other, world->seal, &back), ==, -EBADMSG);
        }
        upload_grant_clear(&grant);
}

static void a_token_of_another_gateway_is_none(struct world *world, const void *data)
{
        struct upload_grant grant = grant_new(), back = {};
        g_autofree char *path = g_build_filename(world->dir, "other.key", NULL);
        struct auth_seal *other = NULL;

        g_assert_cmpint(auth_seal_open(path, random_system(), &other), ==, 0);
        g_autofree char *token = upload_grant_seal(&grant, other);
        g_assert_cmpint(upload_grant_unseal(token, world->seal, &back), ==, -EBADMSG);
        g_assert_cmpint(upload_grant_unseal("", world->seal, &back), ==, -EBADMSG);
        g_assert_cmpint(upload_grant_unseal("gbu1.", world->seal, &back), ==, -EBADMSG);
        g_assert_cmpint(upload_grant_unseal("gbu1..", world->seal, &back), ==, -EBADMSG);
        auth_seal_free(other);
        upload_grant_clear(&grant);
}

static void an_id_is_a_file_name_and_nothing_else(void)
{
        g_assert_true(upload_grant_id_is_valid("0123456789abcdef0123456789abcdef"));
        g_assert_false(upload_grant_id_is_valid("0123456789abcdef0123456789abcde"));
        g_assert_false(upload_grant_id_is_valid("0123456789ABCDEF0123456789abcdef"));
        g_assert_false(upload_grant_id_is_valid("../../../../../../../../etc/shad"));
        g_assert_false(upload_grant_id_is_valid(NULL));
}

/* --- bytes on the disk
 * -------------------------------------------------------------------------------------------------------------------- */

#define ID "00000000000000000000000000000001"

struct bytes {
        struct world world;
        struct staging *staging;
        struct staged *staged;
};

static void bytes_begin(struct bytes *bytes, const void *data)
{
        world_begin(&bytes->world, NULL);
        g_assert_cmpint(staging_new(bytes->world.dir, "one", &bytes->staging), ==, 0);
        g_assert_cmpint(staged_open(bytes->staging, ID, &bytes->staged), ==, 0);
        g_assert_cmpint(staging_record(bytes->staging, ID, "{}", false), ==, 0);
}

static void bytes_end(struct bytes *bytes, const void *data)
{
        staged_free(bytes->staged);
        staging_free(bytes->staging);
        world_end(&bytes->world, NULL);
}

/* As after a kill: what was open is lost, the files are as they are. */
static void kill_and_open(struct bytes *bytes)
{
        bytes->staged = staged_free(bytes->staged);
        g_assert_cmpint(staged_open(bytes->staging, ID, &bytes->staged), ==, 0);
}

static void add(struct bytes *bytes, const char *text)
{
        g_assert_cmpint(staged_write(bytes->staged, text, strlen(text)), ==, 0);
}

static void expect_digest(struct bytes *bytes, const char *of)
{
        g_autofree char *expect = g_compute_checksum_for_string(G_CHECKSUM_SHA256, of, -1);
        char digest[65];

        g_assert_cmpuint(staged_offset(bytes->staged), ==, strlen(of));
        while (!staged_is_hashed(bytes->staged))
                g_assert_cmpint(staged_catch_up(bytes->staged, 2), ==, 0);
        g_assert_cmpint(staged_digest(bytes->staged, digest), ==, 0);
        g_assert_cmpstr(digest, ==, expect);
}

static struct tus_checksum checksum_of(const char *text)
{
        struct tus_checksum checksum = {.algorithm = EVP_sha1()};

        EVP_Digest(text, strlen(text), checksum.digest, &checksum.len, EVP_sha1(), NULL);
        return checksum;
}

static void bytes_of_several_requests_become_one_file(struct bytes *bytes, const void *data)
{
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, "hello");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, ", ");
        add(bytes, "world");
        g_assert_cmpint(staged_settle(bytes->staged, false, false, true), ==, 0);
        g_assert_true(staged_is_hashed(bytes->staged));
        expect_digest(bytes, "hello, world");
}

static void after_a_kill_the_bytes_are_there_and_hashed_again(struct bytes *bytes, const void *data)
{
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, "hello");
        kill_and_open(bytes);
        g_assert_false(staged_is_hashed(bytes->staged));
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, ", world");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        expect_digest(bytes, "hello, world");
}

static void a_request_with_another_checksum_leaves_nothing(struct bytes *bytes, const void *data)
{
        struct tus_checksum good = checksum_of(" world"), wrong = checksum_of("another");

        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, "hello,");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        g_assert_cmpint(staged_begin(bytes->staged, &wrong), ==, 0);
        add(bytes, " world");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, STAGED_E_CHECKSUM);
        expect_digest(bytes, "hello,");
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " world");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        expect_digest(bytes, "hello, world");
        kill_and_open(bytes);
        expect_digest(bytes, "hello, world");
}

static void a_request_with_a_checksum_that_was_cut_off_leaves_nothing(struct bytes *bytes, const void *data)
{
        struct tus_checksum good = checksum_of(" world");

        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, "hello,");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " wo");
        g_assert_cmpint(staged_settle(bytes->staged, false, false, true), ==, 0);
        expect_digest(bytes, "hello,");
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " wo");
        kill_and_open(bytes);
        expect_digest(bytes, "hello,");
        /* One without a checksum counts as far as it came, also after such a one. */
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, " wo");
        g_assert_cmpint(staged_settle(bytes->staged, false, false, true), ==, 0);
        kill_and_open(bytes);
        expect_digest(bytes, "hello, wo");
}

/* The files as they are, read in another life of the host. */
static void start_host_and_open(struct bytes *bytes, const char *boot)
{
        bytes->staged = staged_free(bytes->staged);
        bytes->staging = staging_free(bytes->staging);
        g_assert_cmpint(staging_new(bytes->world.dir, boot, &bytes->staging), ==, 0);
        g_assert_cmpint(staged_open(bytes->staging, ID, &bytes->staged), ==, 0);
}

static void piece(struct bytes *bytes, const char *text, bool more)
{
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, text);
        g_assert_cmpint(staged_settle(bytes->staged, true, false, more), ==, 0);
}

static void pieces_count_after_a_kill_and_after_the_death_of_the_host_once_they_are_synced(struct bytes *bytes, const void *data)
{
        piece(bytes, "hello", true);
        piece(bytes, ", ", true);
        g_assert_false(staged_is_synced(bytes->staged));
        kill_and_open(bytes);
        expect_digest(bytes, "hello, ");
        start_host_and_open(bytes, "one and a half"); /* what was opened is synced */
        expect_digest(bytes, "hello, ");
        piece(bytes, "wor", true);
        start_host_and_open(bytes, "two");
        expect_digest(bytes, "hello, ");
        piece(bytes, "wo", true);
        piece(bytes, "rl", true);
        g_assert_cmpint(staged_sync(bytes->staged), ==, 0);
        piece(bytes, "d", true);
        start_host_and_open(bytes, "three");
        expect_digest(bytes, "hello, worl");
        piece(bytes, "d", false);
        g_assert_true(staged_is_synced(bytes->staged));
        start_host_and_open(bytes, "four");
        expect_digest(bytes, "hello, world");
}

static void a_checksum_vouches_behind_pieces_that_are_not_synced(struct bytes *bytes, const void *data)
{
        struct tus_checksum good = checksum_of(" world");

        piece(bytes, "hello", true);
        piece(bytes, ",", true);
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " wor");
        kill_and_open(bytes);
        expect_digest(bytes, "hello,");
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " world");
        g_assert_cmpint(staged_settle(bytes->staged, true, false, true), ==, 0);
        g_assert_true(staged_is_synced(bytes->staged));
        piece(bytes, "!", true);
        kill_and_open(bytes);
        expect_digest(bytes, "hello, world!");
        piece(bytes, "!", true);
        start_host_and_open(bytes, "two");
        expect_digest(bytes, "hello, world!");
        g_assert_cmpint(staged_begin(bytes->staged, &good), ==, 0);
        add(bytes, " wor");
        start_host_and_open(bytes, "three");
        expect_digest(bytes, "hello, world!");
}

static void the_mark_of_an_older_version_is_read(struct bytes *bytes, const void *data)
{
        g_autofree char *path = g_build_filename(bytes->world.dir, "blobs", "uploads", ID ".mark", NULL);
        const uint64_t vouched = 5;

        piece(bytes, "hello, world", false);
        bytes->staged = staged_free(bytes->staged);
        g_assert_true(g_file_set_contents(path, (const char *)&vouched, sizeof(vouched), NULL));
        start_host_and_open(bytes, "two");
        expect_digest(bytes, "hello");
}

static void a_request_that_is_to_count_for_nothing_does(struct bytes *bytes, const void *data)
{
        g_assert_cmpint(staged_begin(bytes->staged, NULL), ==, 0);
        add(bytes, "hello");
        g_assert_cmpint(staged_settle(bytes->staged, true, true, true), ==, 0);
        expect_digest(bytes, "");
}

static void count(const char *id, const char *record, size_t len, void *userdata)
{
        g_assert_cmpstr(id, ==, ID);
        ++*(int *)userdata;
}

static void files_without_a_record_go_at_the_next_start(struct bytes *bytes, const void *data)
{
        static const char *const strays[] = {"00000000000000000000000000000002.part", "00000000000000000000000000000002.mark",
                                             ".00000000000000000000000000000002.record.XXXXXX", "x"};
        g_autofree char *dir = g_build_filename(bytes->world.dir, "blobs", "uploads", NULL);
        int n = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(strays); i++) {
                g_autofree char *path = g_build_filename(dir, strays[i], NULL);
                g_assert_true(g_file_set_contents(path, "x", 1, NULL));
        }
        g_assert_cmpint(staging_each(bytes->staging, count, &n), ==, 0);
        g_assert_cmpint(n, ==, 1);
        for (size_t i = 0; i < G_N_ELEMENTS(strays); i++) {
                g_autofree char *path = g_build_filename(dir, strays[i], NULL);
                g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
        }
        g_autofree char *part = g_build_filename(dir, ID ".part", NULL);
        g_assert_true(g_file_test(part, G_FILE_TEST_EXISTS));
        g_assert_cmpint(staging_record(bytes->staging, ID, "{\"end\":1}", true), ==, 0);
        g_assert_false(g_file_test(part, G_FILE_TEST_EXISTS));
        staging_forget(bytes->staging, ID);
        n = 0;
        g_assert_cmpint(staging_each(bytes->staging, count, &n), ==, 0);
        g_assert_cmpint(n, ==, 0);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(struct world *world, const void *data);
        } tokens[] = {
                {"/grant/says", a_token_says_what_was_granted},
                {"/grant/changed", a_token_of_which_any_character_was_changed_is_none},
                {"/grant/other", a_token_of_another_gateway_is_none},
        };
        static const struct {
                const char *name;
                void (*run)(struct bytes *bytes, const void *data);
        } disks[] = {
                {"/staging/several", bytes_of_several_requests_become_one_file},
                {"/staging/kill", after_a_kill_the_bytes_are_there_and_hashed_again},
                {"/staging/checksum", a_request_with_another_checksum_leaves_nothing},
                {"/staging/checksum-cut", a_request_with_a_checksum_that_was_cut_off_leaves_nothing},
                {"/staging/pieces", pieces_count_after_a_kill_and_after_the_death_of_the_host_once_they_are_synced},
                {"/staging/pieces-checksum", a_checksum_vouches_behind_pieces_that_are_not_synced},
                {"/staging/older-mark", the_mark_of_an_older_version_is_read},
                {"/staging/nothing", a_request_that_is_to_count_for_nothing_does},
                {"/staging/strays", files_without_a_record_go_at_the_next_start},
        };

        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/tus/number", a_number_is_decimal_digits_and_not_too_large);
        g_test_add_func("/tus/metadata", metadata_is_keys_with_base64);
        g_test_add_func("/tus/checksum", a_checksum_is_an_algorithm_and_a_digest_of_it);
        g_test_add_func("/tus/date", a_date_is_that_of_http);
        g_test_add_func("/grant/id", an_id_is_a_file_name_and_nothing_else);
        for (size_t i = 0; i < G_N_ELEMENTS(tokens); i++)
                g_test_add(tokens[i].name, struct world, NULL, world_begin, tokens[i].run, world_end);
        for (size_t i = 0; i < G_N_ELEMENTS(disks); i++)
                g_test_add(disks[i].name, struct bytes, NULL, bytes_begin, disks[i].run, bytes_end);
        return g_test_run();
}
