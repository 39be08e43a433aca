/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/operation/operation.h"

#include <stdio.h>

static const struct {
        const char *name;
        void (*write)(GString *page);
} pages[] = {
        {"operations", operation_manual},
        {"run-policies", policy_manual},
};

/* Run by the build: writes the page that is named first into each of the files named after it. */
int main(int argc, char **argv)
{
        g_autoptr(GString) page = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(pages); i++)
                if (g_strcmp0(argv[1], pages[i].name) == 0)
                        pages[i].write(page);
        if (!page->len) {
                fprintf(stderr, "usage: manual_page operations|run-policies FILE...\n");
                return 2;
        }
        for (int i = 2; i < argc; i++) {
                g_autofree char *folder = g_path_get_dirname(argv[i]);
                g_autoptr(GError) error = NULL;

                if (g_mkdir_with_parents(folder, 0777) < 0 || !g_file_set_contents(argv[i], page->str, (gssize)page->len, &error)) {
                        fprintf(stderr, "%s: %s\n", argv[i], error ? error->message : g_strerror(errno));
                        return 1;
                }
        }
        return 0;
}
