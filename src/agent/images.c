/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/images.h"

#include "base/error.h"
#include "base/file.h"
#include "base/steps.h"
#include "generated/reasons.h"
#include "loop/loop.h"
#include "virt/image_header.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DIGEST_LEN    64
#define PART_SUFFIX   ".part"
#define FETCH_THREADS 2
#define READ_BYTES    (1u << 20)
#define ATTEMPTS      5
#define RETRY_US      500000ull
#define REST_US       4000000ull

struct image {
        struct images *owner;
        char *digest;
        enum images_state state;
        char *path;
        const char *reason; /* a constant */
        char *message;
        unsigned percent;
        unsigned holds;
        uint64_t used; /* order of use */
        uint64_t failed_us;
};

struct images {
        struct images_options options;
        char *dir;
        struct loop_pool *pool;
        GHashTable *by_digest; /* owned struct image */
        uint64_t uses;
        gint stopping;
};

/* One fetch on a pool thread; it touches nothing of struct image. */
struct fetch {
        struct images *images;
        char *digest, *format, *path, *part;
        uint64_t size;
        int fd;
        EVP_MD_CTX *hash;
        uint64_t received;
        int write_error;
        unsigned percent; /* last one told */
        const char *reason;
        char *message;
};

static void image_free(void *data)
{
        struct image *image = data;

        g_free(image->digest);
        g_free(image->path);
        g_free(image->message);
        g_free(image);
}

static bool digest_valid(const char *digest)
{
        return digest && strlen(digest) == DIGEST_LEN && strspn(digest, "0123456789abcdef") == DIGEST_LEN;
}

static struct image *image_new(struct images *images, const char *digest)
{
        struct image *image = g_new0(struct image, 1);

        image->owner = images;
        image->digest = g_strdup(digest);
        image->path = g_build_filename(images->dir, digest, NULL);
        g_hash_table_insert(images->by_digest, image->digest, image);
        return image;
}

/* --- what is there ---------------------------------------------------------------------------------------------------------------
 */

static int load(struct images *images)
{
        DIR *folder = opendir(images->dir);
        const struct dirent *entry;

        if (!folder) {
                return -errno;
        }
        while ((entry = readdir(folder))) {
                if (digest_valid(entry->d_name)) {
                        /* Its bytes were hashed before it got this name. */
                        image_new(images, entry->d_name)->state = IMAGES_READY;
                }
        }
        closedir(folder);
        return 0;
}

int images_new(const struct images_options *options, struct images **ret_images)
{
        g_autoptr(images) images = NULL;
        int r;

        assert(options && options->dir && options->source.read && options->changed && ret_images);
        images = g_new0(struct images, 1);
        images->options = *options;
        images->options.max_attempts = options->max_attempts ? options->max_attempts : ATTEMPTS;
        images->options.retry_us = options->retry_us ? options->retry_us : RETRY_US;
        images->options.rest_us = options->rest_us ? options->rest_us : REST_US;
        images->dir = g_strdup(options->dir);
        images->by_digest = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, image_free);
        r = file_ensure_dir(images->dir, 0700);
        if (!r) {
                r = load(images);
        }
        if (!r) {
                r = loop_pool_new(options->loop, FETCH_THREADS, &images->pool);
        }
        if (!r) {
                *ret_images = g_steal_pointer(&images);
        }
        return r;
}

struct images *images_free(struct images *images)
{
        if (images) {
                g_atomic_int_set(&images->stopping, 1);
                loop_pool_free(images->pool);
                g_hash_table_unref(images->by_digest);
                g_free(images->dir);
                g_free(images);
        }
        return NULL;
}

/* Drops what nobody holds, least recently used first, until the rest fits. */
static void drop_unused(struct images *images)
{
        for (;;) {
                struct image *image, *oldest = NULL;
                uint64_t total = 0;
                GHashTableIter iter;

                g_hash_table_iter_init(&iter, images->by_digest);
                while (g_hash_table_iter_next(&iter, NULL, (void **)&image)) {
                        struct stat info;

                        if (image->state != IMAGES_READY || image->holds) {
                                continue;
                        }
                        total += stat(image->path, &info) == 0 ? info.st_size : 0;
                        if (!oldest || image->used < oldest->used) {
                                oldest = image;
                        }
                }
                if (!oldest || total <= images->options.max_bytes) {
                        return;
                }
                /* A file that does not go is counted again at the next start. */
                (void)unlink(oldest->path);
                g_hash_table_remove(images->by_digest, oldest->digest);
        }
}

/* --- fetching: on a pool thread --------------------------------------------------------------------------------------------------
 */

static int fetch_fail(struct fetch *fetch, const char *reason, char *message)
{
        g_free(fetch->message);
        fetch->reason = reason;
        fetch->message = message;
        return -EIO;
}

struct percent_post {
        struct images *images;
        char *digest;
        unsigned percent;
};

static void take_percent(void *userdata)
{
        struct percent_post *post = userdata;
        struct image *image = g_hash_table_lookup(post->images->by_digest, post->digest);

        if (image && image->state == IMAGES_FETCHING) {
                image->percent = post->percent;
                post->images->options.changed(post->digest, post->images->options.userdata);
        }
        g_free(post->digest);
        g_free(post);
}

static void tell_percent(struct fetch *fetch)
{
        unsigned percent = fetch->size ? fetch->received * 100 / fetch->size : 0;
        struct percent_post *post;

        if (percent == fetch->percent) {
                return;
        }
        fetch->percent = percent;
        post = g_new0(struct percent_post, 1);
        *post = (struct percent_post){.images = fetch->images, .digest = g_strdup(fetch->digest), .percent = percent};
        loop_post(fetch->images->options.loop, take_percent, post);
}

static bool take_piece(const void *piece, size_t len, void *sink)
{
        struct fetch *fetch = sink;

        if (g_atomic_int_get(&fetch->images->stopping)) {
                return false;
        }
        if (len > fetch->size - fetch->received) {
                fetch->write_error = -EFBIG;
                return false;
        }
        fetch->write_error = fd_write_all(fetch->fd, piece, len);
        if (fetch->write_error < 0 || EVP_DigestUpdate(fetch->hash, piece, len) != 1) {
                return false;
        }
        fetch->received += len;
        (void)steps_pass(fetch->images->options.steps, "images", "fetch", "piece");
        tell_percent(fetch);
        return true;
}

/* What an earlier attempt left is hashed again: its bytes count only when the whole is right. */
static int hash_present(struct fetch *fetch)
{
        g_autofree char *buffer = g_malloc(READ_BYTES);
        ssize_t n;

        fetch->received = 0;
        if (EVP_DigestInit_ex(fetch->hash, EVP_sha256(), NULL) != 1 || lseek(fetch->fd, 0, SEEK_SET) < 0) {
                return -EIO;
        }
        while ((n = read(fetch->fd, buffer, READ_BYTES)) > 0) {
                if (EVP_DigestUpdate(fetch->hash, buffer, n) != 1) {
                        return -EIO;
                }
                fetch->received += n;
        }
        if (n < 0) {
                return -errno;
        }
        /* Longer than it can be: begin anew. */
        return fetch->received > fetch->size ? -EFBIG : 0;
}

static int start_over(struct fetch *fetch)
{
        if (ftruncate(fetch->fd, 0) < 0) {
                return -errno;
        }
        return hash_present(fetch);
}

static int check_digest(struct fetch *fetch)
{
        unsigned char bytes[EVP_MAX_MD_SIZE];
        g_autoptr(GString) hex = g_string_new(NULL);
        unsigned len;

        if (EVP_DigestFinal_ex(fetch->hash, bytes, &len) != 1) {
                return -EIO;
        }
        for (unsigned i = 0; i < len; i++) {
                g_string_append_printf(hex, "%02x", bytes[i]);
        }
        return g_str_equal(hex->str, fetch->digest) ? 0 : -EBADMSG;
}

static char *refusal_words(int status)
{
        return status == 404 ? g_strdup("the gateway no longer has the file of the image; upload or import the image again")
                             : g_strdup_printf("the gateway answered %d", status);
}

/* One request. 0: all bytes are there and right; -EAGAIN: try again, from where it broke; else lost, with reason and words. */
static int attempt(struct fetch *fetch)
{
        const struct images_source *source = &fetch->images->options.source;
        g_autofree char *words = NULL;
        uint64_t offset;
        int status = 0, r;

        r = hash_present(fetch);
        if (r == -EFBIG) {
                r = start_over(fetch);
        }
        if (r < 0) {
                return fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED, g_strdup(g_strerror(-r)));
        }
        offset = fetch->received;
        if (offset < fetch->size) {
                fetch->write_error = 0;
                r = source->read(source->userdata, fetch->digest, offset, take_piece, fetch, &status, &words);
                if (fetch->write_error == -ENOSPC) {
                        (void)ftruncate(fetch->fd, 0); /* what else lives on this file system needs the room more */
                        return fetch_fail(fetch, REASON_DISK_FULL, g_strdup("the host has no room for the image"));
                }
                if (r == 0 && status != (offset ? 206 : 200)) {
                        /* What came is not the part that was asked for, or no image at all. */
                        (void)ftruncate(fetch->fd, status == 200 ? 0 : offset);
                        words = words ? g_steal_pointer(&words) : refusal_words(status);
                        fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED, g_steal_pointer(&words));
                        return status == 404 || status == 403 ? -ENOENT : -EAGAIN;
                }
        }
        if (fetch->received < fetch->size || fetch->write_error == -EFBIG) {
                fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED,
                           words ? g_steal_pointer(&words) : g_strdup("the transfer ended before all bytes were there"));
                return -EAGAIN;
        }
        if (check_digest(fetch) < 0) {
                (void)ftruncate(fetch->fd, 0);
                fetch_fail(fetch, REASON_IMAGE_DIGEST_MISMATCH, g_strdup("the bytes that came have another SHA-256"));
                return -EAGAIN;
        }
        return 0;
}

/* Our own parser judges before any other program opens the file. */
static int judge(struct fetch *fetch)
{
        struct image_refusal refusal;
        struct image_facts facts;
        enum image_format wanted;
        int r = image_header_judge(fetch->fd, &facts, &refusal);

        if (r == IMAGE_E_REFUSED) {
                return fetch_fail(fetch, refusal.reason, g_strdup(refusal.words));
        }
        if (r < 0) {
                return fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED, g_strdup(g_strerror(-r)));
        }
        if (image_format_from_text(fetch->format, &wanted) < 0 || facts.format != wanted) {
                return fetch_fail(fetch, REASON_IMAGE_FORMAT_REFUSED,
                                  g_strdup_printf("the file is %s and was announced as %s", image_format_to_text(facts.format),
                                                  fetch->format));
        }
        return 0;
}

static int keep(struct fetch *fetch)
{
        g_autofree char *folder = g_path_get_dirname(fetch->path);
        autofd dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        (void)steps_pass(fetch->images->options.steps, "images", "fetch", "judged");
        if (dirfd < 0 || fsync(fetch->fd) < 0 || rename(fetch->part, fetch->path) < 0 || fsync(dirfd) < 0) {
                return fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED, g_strdup(g_strerror(errno)));
        }
        (void)steps_pass(fetch->images->options.steps, "images", "fetch", "kept");
        return 0;
}

static int fetch_work(void *userdata)
{
        struct fetch *fetch = userdata;
        uint64_t pause_us = fetch->images->options.retry_us;
        int r = -EAGAIN;

        fetch->fd = open(fetch->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fetch->fd < 0) {
                return fetch_fail(fetch, REASON_IMAGE_FETCH_FAILED, g_strdup(g_strerror(errno)));
        }
        for (unsigned i = 0; r == -EAGAIN && i < fetch->images->options.max_attempts; i++) {
                if (g_atomic_int_get(&fetch->images->stopping)) {
                        break;
                }
                if (i > 0) {
                        g_usleep(pause_us);
                        pause_us *= 2;
                }
                r = attempt(fetch);
        }
        if (!r) {
                r = judge(fetch);
                if (r < 0) {
                        (void)unlink(fetch->part);
                }
        }
        return r ? r : keep(fetch);
}

static void fetch_done(int result, void *userdata)
{
        struct fetch *fetch = userdata;
        struct images *images = fetch->images;
        struct image *image = g_hash_table_lookup(images->by_digest, fetch->digest);

        if (result == -ECANCELED) {
                /* The program ends; the part stays for the next one. */
        } else if (result < 0) {
                image->state = IMAGES_FAILED;
                image->failed_us = loop_now_us(images->options.loop);
                image->reason = fetch->reason;
                g_free(image->message);
                image->message = g_steal_pointer(&fetch->message);
        } else {
                image->state = IMAGES_READY;
        }
        if (result != -ECANCELED) {
                images->options.changed(image->digest, images->options.userdata);
                drop_unused(images);
        }
        fd_close(fetch->fd);
        EVP_MD_CTX_free(fetch->hash);
        g_free(fetch->digest);
        g_free(fetch->format);
        g_free(fetch->path);
        g_free(fetch->part);
        g_free(fetch->message);
        g_free(fetch);
}

static void begin_fetch(struct images *images, struct image *image, const struct images_wish *wish)
{
        struct fetch *fetch = g_new0(struct fetch, 1);

        image->state = IMAGES_FETCHING;
        image->percent = 0;
        fetch->images = images;
        fetch->digest = g_strdup(wish->digest);
        fetch->format = g_strdup(wish->format);
        fetch->path = g_strdup(image->path);
        fetch->part = g_strconcat(image->path, PART_SUFFIX, NULL);
        fetch->size = wish->size_bytes;
        fetch->fd = -1;
        fetch->hash = EVP_MD_CTX_new();
        loop_pool_submit(images->pool, fetch_work, fetch_done, fetch);
}

/* --- asking ----------------------------------------------------------------------------------------------------------------------
 */

struct images_status images_want(struct images *images, const struct images_wish *wish)
{
        struct images_status status = {
                .state = IMAGES_FAILED, .reason = REASON_VALIDATION_FAILED, .message = "the digest is no SHA-256"};
        struct image *image;

        assert(images && wish && wish->format);
        if (!digest_valid(wish->digest)) {
                return status;
        }
        image = g_hash_table_lookup(images->by_digest, wish->digest);
        if (image && image->state == IMAGES_READY && access(image->path, R_OK) < 0) {
                begin_fetch(images, image, wish); /* somebody removed it */
        } else if (!image) {
                image = image_new(images, wish->digest);
                begin_fetch(images, image, wish);
        } else if (image->state == IMAGES_FAILED) {
                if (loop_now_us(images->options.loop) - image->failed_us < images->options.rest_us) {
                        return (struct images_status){.state = IMAGES_FAILED, .reason = image->reason, .message = image->message};
                }
                begin_fetch(images, image, wish);
        }
        image->used = ++images->uses;
        status = (struct images_status){.state = image->state, .percent = image->percent, .path = image->path};
        return status;
}

void images_hold(struct images *images, const char *digest)
{
        struct image *image = g_hash_table_lookup(images->by_digest, digest);

        if (image) {
                image->holds++;
        }
}

void images_release(struct images *images, const char *digest)
{
        struct image *image = g_hash_table_lookup(images->by_digest, digest);

        if (image && image->holds) {
                image->holds--;
                drop_unused(images);
        }
}
