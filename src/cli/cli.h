/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/http.h"
#include "schema/schema.h"
#include "json/json.h"

#include <glib.h>
#include <stdbool.h>

/*
 * The command line. Every verb is one file with one cli_<verb>() function in the table of main.c. What is printed on standard
 * output is for the user's eyes or scripts; progress and errors go to standard error. Colours and bars only on a terminal.
 */

/* Exit codes, stable for scripts. */
enum {
        CLI_OK = 0,
        CLI_FAILED = 1,      /* refused by the server, or the operation failed */
        CLI_USAGE = 2,       /* wrong words on the command line */
        CLI_NOT_FOUND = 3,   /* the object does not exist */
        CLI_UNREACHABLE = 4, /* no connection, or no valid credentials */
        CLI_TIMEOUT = 5,     /* what was waited for did not come in time */
};

struct cli {
        /* Where and as whom. */
        char *server, *token, *ca_pem, *certificate_pem, *key_pem;
        bool insecure;
        char *namespace;
        /* Global options as given; NULL: not given. */
        char *option_kubeconfig, *option_context, *option_namespace, *option_server, *option_token, *option_ca;
        char *option_request_id;
        gboolean option_insecure;
        bool answered;          /* the gateway has answered this command before */
        char *request_id;       /* of this command: its writes are named by it and their number */
        unsigned requests;      /* writes so far */
        struct http_kept *kept; /* connections to the server */
};

/* One verb. */
struct cli_verb {
        const char *name;
        const char *words;   /* "KIND [NAME]" */
        const char *summary; /* one line */
        int (*run)(struct cli *cli, int argc, char **argv);
};
extern const struct cli_verb cli_verbs[]; /* ends with a NULL name */
/** cli_verb() - by its name, or NULL. */
const struct cli_verb *cli_verb(const char *name);

/* --- options
 * -------------------------------------------------------------------------------------------------------------------------------
 */

/** cli_options() - the options of a verb; tells what is wrong. Prints the help and ends the program when that is asked for. CLI_OK,
 *  or the code to exit with. @argv keeps the words: the verb first. */
int cli_options(struct cli *cli, const char *verb, const GOptionEntry *entries, const char *description, int *argc, char ***argv);
/** cli_parse() - cli_options(), then server and credentials. */
int cli_parse(struct cli *cli, const char *verb, const GOptionEntry *entries, const char *description, int *argc, char ***argv);

/* --- talking to the server
 * -------------------------------------------------------------------------------------------------------------------- */

struct cli_request {
        const char *method;       /* NULL: GET */
        const char *path;         /* "/apis/..." with query */
        const char *accept;       /* NULL: application/json */
        const char *content_type; /* NULL: application/json */
        const char *body;
        size_t len;
        int body_fd; /* >= 0 with @upload */
        bool upload;
        bool patient;      /* asked again while the gateway restarts, as writes are */
        bool once;         /* never sent again: what it does cannot be told from what it did */
        uint64_t stall_us; /* how long nothing may come; 0: as always */
        void (*on_sent)(struct http_call *call, uint64_t sent, void *userdata);
        void *userdata;
};
struct cli_reply {
        int status;
        struct json_doc *doc; /* NULL when the answer is no JSON */
        GString *text;
};
void cli_reply_clear(struct cli_reply *reply);

/** cli_call() - CLI_OK for any answer of the server, also an error status; CLI_UNREACHABLE (told already) when there is none. */
int cli_call(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply);
/** cli_expect() - cli_call() that also tells and codes every status but 2xx, and an answer that is no JSON. */
int cli_expect(struct cli *cli, const struct cli_request *request, struct cli_reply *ret_reply);
/** cli_tell_status() - print a Status with all its causes; the exit code that fits it. */
int cli_tell_status(const struct cli_reply *reply);
/** cli_change_migration() - merge @change into spec.migrate of the operation that moves @machine now. */
int cli_change_migration(struct cli *cli, const char *machine, const struct json_value *change);
/** cli_create_doc() - POST; *ret_name (g_free) is the name that it got. */
int cli_create_doc(struct cli *cli, const struct schema_kind *kind, const struct json_doc *doc, char **ret_name);

/* A watch; one that the server ends, or that is lost while a gateway restarts, is taken up again. */
struct cli_watch {
        const char *path;       /* of a collection, without the parameters of watches */
        const char *accept;     /* NULL: objects; or tables */
        char *resource_version; /* after which; moves on; g_free() by the caller. NULL: what is there comes first */
        uint64_t timeout_us;    /* 0: for ever */
        bool stop_when_gone;    /* when the version is too old: end with CLI_OK and @gone; else what is there comes once more */
        bool gone;
        bool (*each)(const char *type, struct json_value *object, void *userdata); /* false ends it; bookmarks are not told */
        void *userdata;
};
/** cli_watch() - CLI_OK when @each ended it, CLI_TIMEOUT, or an error that was told. */
int cli_watch(struct cli *cli, struct cli_watch *watch);

/* --- kinds and names
 * ------------------------------------------------------------------------------------------------------------------------ */

/** cli_path() - the path of a collection (@name NULL) or object in the current namespace; g_free(). */
char *cli_path(const struct cli *cli, const struct schema_kind *kind, const char *name);
/** cli_path_in() - the same in a given namespace (NULL: all namespaces for a collection). */
char *cli_path_in(const struct schema_kind *kind, const char *namespace, const char *name);
/** cli_kind() - by plural, singular, short name or kind, with or without group; tells when unknown. */
const struct schema_kind *cli_kind(const char *word);
/** cli_kinds() - "vm,vd", "all" and other categories: the kinds behind a word. Empty after telling that there is none. */
GPtrArray *cli_kinds(const char *words);
/** cli_kinds_help() - a paragraph that lists them. */
char *cli_kinds_help(void);

/* An object named on the command line. */
struct cli_target {
        const struct schema_kind *kind;
        char *name;
};
/** cli_is_slashed() - whether the word (or NULL) has the form KIND/NAME. */
bool cli_is_slashed(const char *word);
/** cli_targets() - "KIND NAME..." or "KIND/NAME..." behind argv[0] as an array of struct cli_target; NULL after telling what is
 * wrong. */
GArray *cli_targets(int argc, char **argv, const char *verb);
/** cli_machine_name() - "web" of "web", "vm/web" and the like, within @word; NULL after telling that it is no machine. */
const char *cli_machine_name(const char *word);

/* --- manifests
 * ------------------------------------------------------------------------------------------------------------------------------ */

/** cli_read_file() - a whole file, "-" for standard input; tells on failure. */
int cli_read_file(const char *path, char **ret_text, size_t *ret_len);
/** cli_docs_new() - an array that owns struct json_doc. */
GPtrArray *cli_docs_new(void);
/** cli_manifests() - all documents of files and folders, items of Lists each by itself, as an array that owns struct json_doc.
 * Nothing is given when one of them cannot be read. */
int cli_manifests(char **files, char **more, GPtrArray **ret_docs);
/** cli_kind_of() - the kind that a manifest says; NULL after telling what is wrong. */
const struct schema_kind *cli_kind_of(const struct json_value *manifest);

/* --- output
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

bool cli_is_terminal(int fd);
/** cli_clean() - what may go to a terminal: control characters and bytes that are not UTF-8 become "?", line feeds stay with
 * @lines. All functions below clean what they print; g_free(). */
char *cli_clean(const char *text, bool lines);
void cli_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
int cli_usage(const char *format, ...) G_GNUC_PRINTF(1, 2); /* cli_error() that gives CLI_USAGE */
void cli_note(const char *format, ...) G_GNUC_PRINTF(1, 2); /* progress: standard error */
void cli_hint(const char *format, ...)
        G_GNUC_PRINTF(1, 2);                               /* what to do next, for people only: when standard error is a terminal */
void cli_say(const char *format, ...) G_GNUC_PRINTF(1, 2); /* a line on standard output, at once */
/** cli_print_object() - "json", "yaml" or "name". */
void cli_print_object(const struct json_value *object, const char *format);
/** cli_print_list() - what GET @path answers: as it is in @format, or its items by @print when that is NULL. A CLI_* code. */
int cli_print_list(struct cli *cli, const char *path, const char *format, void (*print)(const struct json_value *items));

/* A table: rows of cells, printed with aligned columns. */
struct cli_table;
/** cli_joined() - the strings of a list with commas between; g_free(). */
char *cli_joined(const struct json_value *list);
struct cli_table *cli_table_new(void);
void cli_table_add(struct cli_table *table, const char *const *cells); /* NULL-terminated */
/** cli_table_print() - print the rows added since the last time; the columns stay as wide as they were. */
void cli_table_print(struct cli_table *table);
struct cli_table *cli_table_free(struct cli_table *table);

/* A progress bar on a terminal, lines at every quarter elsewhere. */
struct cli_bar {
        const char *what;
        bool rate; /* of bytes: shown too */
        bool begun;
        int percent;
        uint64_t from, begun_us, shown_us; /* with @rate */
};
void cli_bar_show(struct cli_bar *bar, uint64_t done, uint64_t total);
void cli_bar_end(struct cli_bar *bar);

/* --- things that several verbs do
 * ---------------------------------------------------------------------------------------------------------- */

/** cli_wait_for() - see `gabbro wait --for`: "phase=Running", "condition=Ready", "condition=Ready=False", "delete". */
int cli_wait_for(struct cli *cli, const struct schema_kind *kind, const char *name, const char *what, uint64_t timeout_us,
                 bool quiet);
/** cli_state() - "Pending: why", of the phase and the conditions; g_free(). */
char *cli_state(const struct json_value *object);
/** cli_apply_docs() - create the objects or patch them to what the manifests say (last-applied annotation as kubectl keeps it; the
 *  documents are changed). Several are checked together first. */
int cli_apply_docs(struct cli *cli, const GPtrArray *docs, bool dry_run);
int cli_apply_doc(struct cli *cli, struct json_doc *doc);

int cli_get(struct cli *cli, int argc, char **argv);
int cli_describe(struct cli *cli, int argc, char **argv);
int cli_apply(struct cli *cli, int argc, char **argv);
int cli_delete(struct cli *cli, int argc, char **argv);
int cli_create(struct cli *cli, int argc, char **argv);
int cli_start(struct cli *cli, int argc, char **argv);
int cli_stop(struct cli *cli, int argc, char **argv);
int cli_restart(struct cli *cli, int argc, char **argv);
int cli_force_off(struct cli *cli, int argc, char **argv);
int cli_suspend(struct cli *cli, int argc, char **argv);
int cli_resume(struct cli *cli, int argc, char **argv);
int cli_reset(struct cli *cli, int argc, char **argv);
int cli_redeploy(struct cli *cli, int argc, char **argv);
int cli_clone(struct cli *cli, int argc, char **argv);
int cli_migrate(struct cli *cli, int argc, char **argv);
int cli_drain(struct cli *cli, int argc, char **argv);
int cli_cordon(struct cli *cli, int argc, char **argv);
int cli_uncordon(struct cli *cli, int argc, char **argv);
int cli_undefine(struct cli *cli, int argc, char **argv);
int cli_attach(struct cli *cli, int argc, char **argv);
int cli_detach(struct cli *cli, int argc, char **argv);
int cli_wait(struct cli *cli, int argc, char **argv);
int cli_console(struct cli *cli, int argc, char **argv);
int cli_guest(struct cli *cli, int argc, char **argv);
int cli_screenshot(struct cli *cli, int argc, char **argv);
int cli_graphics_password(struct cli *cli, int argc, char **argv);
int cli_top(struct cli *cli, int argc, char **argv);
int cli_image(struct cli *cli, int argc, char **argv);
int cli_disk(struct cli *cli, int argc, char **argv);
int cli_callbacks(struct cli *cli, int argc, char **argv);
int cli_events(struct cli *cli, int argc, char **argv);
int cli_node(struct cli *cli, int argc, char **argv);
int cli_role(struct cli *cli, int argc, char **argv);
int cli_login(struct cli *cli, int argc, char **argv);
int cli_logout(struct cli *cli, int argc, char **argv);
int cli_whoami(struct cli *cli, int argc, char **argv);
int cli_user(struct cli *cli, int argc, char **argv);
int cli_token(struct cli *cli, int argc, char **argv);
int cli_audit(struct cli *cli, int argc, char **argv);
int cli_doctor(struct cli *cli, int argc, char **argv);
int cli_storage(struct cli *cli, int argc, char **argv);
int cli_pool(struct cli *cli, int argc, char **argv);
int cli_set(struct cli *cli, int argc, char **argv);
/** cli_restart_machine() - as `gabbro restart`; @wait_s: until it is done, 0: only until it is under way. */
int cli_restart_machine(struct cli *cli, const char *name, int wait_s);
int cli_explain(struct cli *cli, int argc, char **argv);
/** cli_explain_change() - "change [FIELD]" of cli_explain(); @output: json, yaml or NULL. */
int cli_explain_change(int argc, char **argv, const char *output);
int cli_version(struct cli *cli, int argc, char **argv);
int cli_completion(struct cli *cli, int argc, char **argv);
