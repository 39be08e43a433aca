/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/change_way.h"

#include <stdio.h>

/* Run by the build: writes the page on changes into each of the files named. */
int main(int argc, char **argv)
{
        g_autoptr(GString) page = g_string_new(NULL);

        change_manual(page);
        for (int i = 1; i < argc; i++) {
                g_autofree char *folder = g_path_get_dirname(argv[i]);
                g_autoptr(GError) error = NULL;

                if (g_mkdir_with_parents(folder, 0777) < 0 || !g_file_set_contents(argv[i], page->str, (gssize)page->len, &error)) {
                        fprintf(stderr, "%s: %s\n", argv[i], error ? error->message : g_strerror(errno));
                        return 1;
                }
        }
        return 0;
}
