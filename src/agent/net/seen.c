/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/seen.h"

#include "agent/net/ruleset.h"
#include "base/error.h"

#include <string.h>

#define LIST_TABLES   "list table bridge gabbro\nlist table inet gabbro\n"
#define COMMENT       "comment \""
#define DIGEST_LEN    64
#define ELEMENTS      "elements = {"
#define ADD_ELEMENT   "add element "
#define ADD_RULE      "add rule "
#define LOOKS_AT_ONCE 3 /* somebody changes the tables while we read them */

struct seen {
        GHashTable *marks;   /* NULL: not looked at yet */
        uint32_t generation; /* of the rules that were read; 0: unknown */
};

struct seen *seen_new(void)
{
        return g_new0(struct seen, 1);
}

struct seen *seen_free(struct seen *seen)
{
        if (seen) {
                g_clear_pointer(&seen->marks, g_hash_table_unref);
                g_free(seen);
        }
        return NULL;
}

/* --- marks -----------------------------------------------------------------------------------------------------------------------
 */

static void add_mark(GHashTable *marks, const char *place, const char *what, size_t len)
{
        g_autofree char *text = g_strndup(what, len);

        g_hash_table_add(marks, g_strconcat(place, " ", g_strstrip(text), NULL));
}

static void add_digest(GHashTable *marks, const char *place, const char *line)
{
        const char *comment = strstr(line, COMMENT), *end = comment ? strchr(comment + strlen(COMMENT), '"') : NULL;

        if (end && end - comment - strlen(COMMENT) == DIGEST_LEN) {
                add_mark(marks, place, comment + strlen(COMMENT), DIGEST_LEN);
        }
}

/* "a, b }": up to the brace. Return: whether it came. */
static bool add_elements(GHashTable *marks, const char *place, const char *text)
{
        const char *end = strchr(text, '}');
        g_autofree char *inside = end ? g_strndup(text, end - text) : g_strdup(text);
        g_auto(GStrv) elements = g_strsplit(inside, ",", 0);

        for (char **one = elements; *one; one++) {
                g_strstrip(*one);
                if (**one) {
                        add_mark(marks, place, *one, strlen(*one));
                }
        }
        return end;
}

/* The first three words of a command are the place: "inet gabbro taps ...". */
static void take_command(GHashTable *marks, const char *line, bool element)
{
        g_auto(GStrv) words = g_strsplit(line, " ", 4);
        g_autofree char *place = NULL;

        if (g_strv_length(words) < 4) {
                return;
        }
        place = g_strjoin(" ", words[0], words[1], words[2], NULL);
        if (!element) {
                add_digest(marks, place, words[3]);
        } else if (words[3][0] == '{') {
                (void)add_elements(marks, place, words[3] + 1);
        }
}

/* Where a listing is. */
struct listing {
        char *table, *place;
        bool elements; /* their list goes on in the next line */
};

static void take_listed(GHashTable *marks, struct listing *listing, const char *line)
{
        g_auto(GStrv) words = NULL;

        if (listing->elements) {
                listing->elements = !add_elements(marks, listing->place, line);
                return;
        }
        if (listing->place && g_str_has_prefix(line, ELEMENTS)) {
                listing->elements = !add_elements(marks, listing->place, line + strlen(ELEMENTS));
                return;
        }
        if (listing->place && strstr(line, COMMENT)) {
                add_digest(marks, listing->place, line);
                return;
        }
        words = g_strsplit(line, " ", 5);
        if (g_strv_length(words) == 4 && g_str_equal(words[0], "table")) {
                g_free(listing->table);
                listing->table = g_strjoin(" ", words[1], words[2], NULL);
                g_clear_pointer(&listing->place, g_free);
        } else if (listing->table && g_strv_length(words) == 3 && g_str_equal(words[2], "{")) {
                g_free(listing->place);
                listing->place = g_strjoin(" ", listing->table, words[1], NULL);
        }
}

GHashTable *seen_marks(const char *text)
{
        GHashTable *marks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
        struct listing listing = {};

        for (char **at = lines; *at; at++) {
                const char *line = g_strstrip(*at);

                if (g_str_has_prefix(line, ADD_ELEMENT)) {
                        take_command(marks, line + strlen(ADD_ELEMENT), true);
                } else if (g_str_has_prefix(line, ADD_RULE)) {
                        take_command(marks, line + strlen(ADD_RULE), false);
                } else {
                        take_listed(marks, &listing, line);
                }
        }
        g_free(listing.table);
        g_free(listing.place);
        return marks;
}

/* --- looking ---------------------------------------------------------------------------------------------------------------------
 */

int seen_look(struct seen *seen, struct nft *nft)
{
        assert(seen && nft);
        for (unsigned i = 0; i < LOOKS_AT_ONCE; i++) {
                uint32_t generation = nft_generation(nft);
                g_autofree char *text = NULL;

                if (seen->marks && generation && generation == seen->generation) {
                        return 0;
                }
                g_clear_pointer(&seen->marks, g_hash_table_unref);
                text = nft_list(nft, LIST_TABLES);
                if (!text) {
                        return -ENOENT;
                }
                seen->marks = seen_marks(text);
                seen->generation = generation;
                if (!generation) {
                        return 0;
                }
        }
        /* The last reading is as good as any; the next look reads again if it was overtaken. */
        return 0;
}

bool seen_port(const struct seen *seen, const struct net_port *port)
{
        g_autoptr(GString) commands = g_string_new(NULL);
        g_autoptr(GHashTable) wanted = NULL;
        GHashTableIter iter;
        const char *mark;

        assert(seen && port);
        ruleset_add_port(port, commands);
        wanted = seen_marks(commands->str);
        g_hash_table_iter_init(&iter, wanted);
        while (g_hash_table_iter_next(&iter, (void **)&mark, NULL)) {
                if (!seen->marks || !g_hash_table_contains(seen->marks, mark)) {
                        return false;
                }
        }
        return true;
}
