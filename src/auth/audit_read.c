/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/audit_checkpoint.h"
#include "auth/auth.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
        struct audit_checkpoint checkpoint;
        char digest[AUDIT_DIGEST_SIZE];
        struct auth_audit_report report;
};

static void note(struct walk *walk, uint64_t line, const char *words)
{
        if (walk->report.broken)
                return;
        walk->report.broken = line;
        walk->report.words = words;
}

/* A line that follows another than the one before it: something was changed, taken out or put in there. */
static void judge_line(struct walk *walk, const char *line, size_t len)
{
        uint64_t n = ++walk->report.lines;

        if (!audit_chain_check(line, len, walk->digest))
                note(walk, n, "it was changed, or the line before it was changed, removed or inserted");
        else if (n == walk->checkpoint.lines && strcmp(walk->digest, walk->checkpoint.digest) != 0)
                note(walk, n, "it is not the line that the checkpoint vouches for");
}

static int walk_file(struct walk *walk, FILE *file, bool (*each)(const char *line, size_t len, void *userdata), void *userdata)
{
        char *line = NULL;
        size_t room = 0;
        bool told = each;
        ssize_t len;

        while ((len = getline(&line, &room, file)) > 0) {
                if (line[len - 1] != '\n') {
                        walk->report.unfinished = true;
                        break;
                }
                judge_line(walk, line, (size_t)len - 1);
                line[len - 1] = 0;
                told = told && each(line, (size_t)len - 1, userdata);
        }
        free(line); /* of getline() */
        return ferror(file) ? -EIO : 0;
}

int auth_audit_read(const char *path, bool (*each)(const char *line, size_t len, void *userdata), void *userdata,
                    struct auth_audit_report *ret_report)
{
        g_autofree char *checkpoint_path = audit_checkpoint_path(path);
        struct walk walk = {};
        FILE *file;
        int r;

        assert(path && ret_report);
        /* The checkpoint first: a gateway that runs may write more meanwhile, never less. */
        r = audit_checkpoint_read(checkpoint_path, &walk.checkpoint);
        if (r < 0 && r != -ENOENT)
                return r;
        file = fopen(path, "re");
        if (!file)
                return -errno;
        audit_chain_start(walk.digest);
        r = walk_file(&walk, file, each, userdata);
        fclose(file);
        if (r < 0)
                return r;
        walk.report.checkpoint = walk.checkpoint.lines;
        if (walk.report.lines < walk.checkpoint.lines)
                note(&walk, walk.report.lines + 1, "it is missing: lines were cut off the end");
        *ret_report = walk.report;
        return 0;
}

int auth_audit_verify(const char *path, uint64_t *ret_lines)
{
        struct auth_audit_report report;
        int r = auth_audit_read(path, NULL, NULL, &report);

        if (r < 0)
                return r;
        if (!report.broken && report.unfinished)
                report.broken = report.lines + 1;
        if (ret_lines && !report.broken)
                *ret_lines = report.lines;
        return (int)MIN(report.broken, (uint64_t)INT_MAX);
}
