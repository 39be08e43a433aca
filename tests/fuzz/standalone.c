/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Runs a fuzz target once over every file given, or over every file of a folder given: the corpus as an ordinary test. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
        FILE *file = fopen(path, "rb");
        uint8_t *data = NULL;
        size_t size = 0, room = 0, n;

        if (!file) {
                perror(path);
                return 1;
        }
        do {
                if (size == room) {
                        room = room ? room * 2 : 4096;
                        data = realloc(data, room);
                        if (!data)
                                abort();
                }
                n = fread(data + size, 1, room - size, file);
                size += n;
        } while (n);
        fclose(file);
        data = realloc(data, size ? size : 1); /* exactly as long as the input, so that a sanitizer sees what is read beyond */
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        return 0;
}

static int run_folder(const char *path)
{
        struct dirent **entries;
        int n = scandir(path, &entries, NULL, alphasort), failed = 0;
        char file[4096];

        if (n < 0) {
                perror(path);
                return 1;
        }
        if (n <= 2) { /* nothing but "." and "..": a corpus that went missing must not pass */
                fprintf(stderr, "%s: empty\n", path);
                failed = 1;
        }
        for (int i = 0; i < n; i++) {
                if (entries[i]->d_name[0] != '.') {
                        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
                        failed |= run_file(file);
                }
                free(entries[i]);
        }
        free(entries);
        return failed;
}

int main(int argc, char **argv)
{
        int failed = 0;

        for (int i = 1; i < argc; i++) {
                struct stat st;

                if (stat(argv[i], &st) < 0) {
                        perror(argv[i]);
                        return 1;
                }
                failed |= S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
        }
        return failed;
}
