/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/audit_checkpoint.h"
#include "base/file.h"
#include "json/json.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX 1024
#define HEX_LEN        (AUDIT_DIGEST_SIZE - 1)
#define END_LEN        (HEX_LEN + 3) /* ..."} and the newline */

char *audit_checkpoint_path(const char *path)
{
        assert(path);
        return g_strconcat(path, ".checkpoint", NULL);
}

int audit_checkpoint_write(const char *path, const struct audit_checkpoint *checkpoint)
{
        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(GString) text = g_string_new(NULL);
        struct json_value *root = json_new(doc, JSON_OBJECT);

        assert(path && checkpoint);
        json_set_int(doc, root, "lines", (int64_t)checkpoint->lines);
        json_set_int(doc, root, "bytes", (int64_t)checkpoint->bytes);
        json_set_string(doc, root, "digest", checkpoint->digest);
        json_write(root, text);
        g_string_append_c(text, '\n');
        return file_write_atomic(path, text->str, text->len, 0600);
}

int audit_checkpoint_read(const char *path, struct audit_checkpoint *ret_checkpoint)
{
        g_autofree char *text = NULL;
        g_autoptr(json_doc) doc = NULL;
        const char *digest;
        int64_t lines, bytes;
        size_t len;
        int r;

        assert(path && ret_checkpoint);
        r = file_read(path, FILE_BYTES_MAX, &text, &len);
        if (r < 0)
                return r == -EFBIG ? -EBADMSG : r;
        if (json_parse(text, len, &doc, NULL) != 0)
                return -EBADMSG;
        digest = json_find_string(json_root_const(doc), "digest", NULL);
        if (json_int64(json_find(json_root_const(doc), "lines", NULL), &lines) != 0 ||
            json_int64(json_find(json_root_const(doc), "bytes", NULL), &bytes) != 0 || lines < 1 || bytes < (int64_t)END_LEN ||
            !digest || strspn(digest, "0123456789abcdef") != HEX_LEN || digest[HEX_LEN])
                return -EBADMSG;
        *ret_checkpoint = (struct audit_checkpoint){.lines = (uint64_t)lines, .bytes = (uint64_t)bytes};
        memcpy(ret_checkpoint->digest, digest, AUDIT_DIGEST_SIZE);
        return 0;
}

static int read_at(int fd, char *buffer, size_t len, uint64_t at)
{
        for (size_t done = 0; done < len;) {
                ssize_t n = pread(fd, buffer + done, len - done, (off_t)(at + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                done += (size_t)n;
        }
        return 0;
}

int audit_checkpoint_judge(int fd, uint64_t size, const struct audit_checkpoint *checkpoint)
{
        char end[END_LEN];
        int r;

        assert(fd >= 0 && checkpoint && checkpoint->bytes >= END_LEN);
        if (size < checkpoint->bytes)
                return AUDIT_E_CUT;
        r = read_at(fd, end, END_LEN, checkpoint->bytes - END_LEN);
        if (r < 0)
                return r;
        return memcmp(end, checkpoint->digest, HEX_LEN) == 0 && memcmp(end + HEX_LEN, "\"}\n", 3) == 0 ? 0 : AUDIT_E_CHANGED;
}

int audit_checkpoint_count(int fd, uint64_t from, uint64_t to, uint64_t *ret_lines)
{
        char buffer[16384];
        uint64_t lines = 0;

        assert(fd >= 0 && from <= to && ret_lines);
        while (from < to) {
                size_t len = (size_t)MIN(to - from, sizeof(buffer));
                int r = read_at(fd, buffer, len, from);

                if (r < 0)
                        return r;
                for (size_t i = 0; i < len; i++)
                        lines += buffer[i] == '\n';
                from += len;
        }
        *ret_lines = lines;
        return 0;
}
