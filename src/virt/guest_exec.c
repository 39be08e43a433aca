/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/guest_exec.h"

#include "base/limits.h"
#include "virt/guest_agent.h"
#include "virt/virt_internal.h"

#include <assert.h>
#include <string.h>

#define ANSWER_S 5

/*
 * $1: bytes of each stream, $2: seconds, then the command. Descriptor 5 is its output, 6 its complaints, 3 carries its exit code
 * past both readers, 7 its output past the reader of its complaints, 8 its input. A group of its own, where there is setsid, dies
 * with all its children. Not every system has a head that counts bytes.
 */
static const char shell_script[] = "n=$1 t=$2; shift 2; exec 5>&1 6>&2 8<&0\n"
                                   "h=\"head -c $n\"; echo | $h >/dev/null 2>&1 || h=\"dd bs=1 count=$n\"\n"
                                   "g=; s=; if command -v setsid >/dev/null 2>&1; then g=-; s=setsid; fi\n"
                                   "run() {\n"
                                   "  $s \"$@\" <&8 3>&- 5>&- 6>&- 7>&- 8<&- & p=$!\n"
                                   "  ( sleep \"$t\"; kill -9 $g$p ) >/dev/null 2>&1 </dev/null 3>&- 5>&- 6>&- 7>&- 8<&- & k=$!\n"
                                   "  wait $p; c=$?; kill $k 2>/dev/null; echo $c >&3\n"
                                   "}\n"
                                   "c=$( { { run \"$@\" 2>&1 >&7 7>&- | $h 2>/dev/null >&6; } 7>&1 | $h 2>/dev/null >&5; } 3>&1 )\n"
                                   "exit ${c:-125}\n";

static void add_input(struct json_doc *doc, struct json_value *arguments, const struct guest_exec *exec)
{
        g_autofree char *input = exec->input ? g_base64_encode(exec->input, exec->input_len) : NULL;

        json_set_string(doc, arguments, "input-data", input);
}

char *guest_exec_command(const struct guest_exec *exec, bool in_shell)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *arguments, *list;
        const char *const *words = exec->words;
        char bytes[16], seconds[16];

        assert(exec && words && words[0]);

        json_set_root(doc, root);
        json_set_string(doc, root, "execute", "guest-exec");
        arguments = json_ensure_object(doc, root, "arguments");
        list = json_ensure_array(doc, arguments, "arg");
        if (in_shell) {
                /* One more than fits tells that there is more. */
                g_snprintf(bytes, sizeof(bytes), "%u", LIMIT_GUEST_EXEC_OUTPUT_BYTES + 1);
                g_snprintf(seconds, sizeof(seconds), "%u", exec->seconds);
                const char *const before[] = {"-c", shell_script, "gabbro", bytes, seconds};

                json_set_string(doc, arguments, "path", "/bin/sh");
                for (size_t i = 0; i < G_N_ELEMENTS(before); i++)
                        json_append(list, json_new_string(doc, before[i]));
        } else {
                json_set_string(doc, arguments, "path", *words++);
        }
        for (; *words; words++)
                json_append(list, json_new_string(doc, *words));
        add_input(doc, arguments, exec);
        json_set_bool(doc, arguments, "capture-output", true);
        return json_to_text(root);
}

/* An agent that does not tell is taken for one of a guest that has a shell; one that does not answer is not asked for more. */
static int find_posix_shell(struct virt *virt, const char *uuid, bool *ret_found, struct virt_error *reterr)
{
        struct guest_os os = {};
        int r = guest_agent_os(virt, uuid, ANSWER_S, &os, reterr);

        *ret_found = r || strcmp(os.id, "mswindows") != 0;
        guest_os_clear(&os);
        return r == VIRT_E_FAILED ? 0 : r;
}

int guest_exec_start(struct virt *virt, const char *uuid, const struct guest_exec *exec, struct guest_exec_run *ret_run,
                     struct virt_error *reterr)
{
        g_autofree char *command = NULL;
        g_autoptr(json_doc) reply = NULL;
        struct guest_exec_run run = {};
        int r;

        assert(virt && uuid && exec && ret_run && reterr);

        r = find_posix_shell(virt, uuid, &run.bounded, reterr);
        if (r)
                return r;
        command = guest_exec_command(exec, run.bounded);
        r = guest_agent_command(virt, uuid, command, ANSWER_S, &reply, reterr);
        if (r)
                return r;
        if (json_int64(json_get(json_root(reply), "pid"), &run.pid) || run.pid <= 0)
                return virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", "the guest agent did not say what it has started");
        *ret_run = run;
        return 0;
}

char *guest_exec_kill_command(int64_t pid)
{
        g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, pid);
        const char *const words[] = {"taskkill.exe", "/F", "/T", "/PID", number, NULL};

        return guest_exec_command(&(struct guest_exec){.words = words}, false);
}

int guest_exec_kill(struct virt *virt, const char *uuid, int64_t pid, struct virt_error *reterr)
{
        g_autofree char *command = guest_exec_kill_command(pid);
        g_autoptr(json_doc) reply = NULL;

        assert(virt && uuid && reterr);
        return guest_agent_command(virt, uuid, command, ANSWER_S, &reply, reterr);
}

/* --- what became of it
 * ----------------------------------------------------------------------------------------------------------------------- */

void guest_exec_result_clear(struct guest_exec_result *result)
{
        g_clear_pointer(&result->output, g_byte_array_unref);
        g_clear_pointer(&result->complaints, g_byte_array_unref);
        *result = (struct guest_exec_result){};
}

static GByteArray *take_stream(const struct json_value *reply, const char *key, bool *ret_cut)
{
        const char *text = json_string(json_get(reply, key), "");
        gsize len = 0;
        guchar *bytes = *text ? g_base64_decode(text, &len) : NULL;

        *ret_cut = len > LIMIT_GUEST_EXEC_OUTPUT_BYTES;
        return g_byte_array_new_take(bytes, MIN(len, LIMIT_GUEST_EXEC_OUTPUT_BYTES));
}

int guest_exec_result_parse(const struct json_value *reply, struct guest_exec_result *ret_result, struct virt_error *reterr)
{
        struct guest_exec_result result = {};
        int64_t number = 0;

        assert(ret_result && reterr);

        if (!json_is_bool(json_get(reply, "exited")))
                return virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", "the guest agent did not say whether the command goes on");
        result.exited = json_bool(json_get(reply, "exited"), false);
        if (!result.exited) {
                *ret_result = result;
                return 0;
        }
        if (json_int64(json_get(reply, "signal"), &number) == 0)
                result.exit_code = 128 + (int)(number & 0x7f);
        else if (json_int64(json_get(reply, "exitcode"), &number) == 0)
                result.exit_code = (int)(number & 0xff);
        else
                return virt_say(reterr, VIRT_E_FAILED, "AgentNotReady", "the guest agent did not say how the command ended");
        result.output = take_stream(reply, "out-data", &result.output_cut);
        result.complaints = take_stream(reply, "err-data", &result.complaints_cut);
        result.output_cut |= json_bool(json_get(reply, "out-truncated"), false);
        result.complaints_cut |= json_bool(json_get(reply, "err-truncated"), false);
        *ret_result = result;
        return 0;
}

int guest_exec_look(struct virt *virt, const char *uuid, int64_t pid, struct guest_exec_result *ret_result,
                    struct virt_error *reterr)
{
        g_autofree char *command =
                g_strdup_printf("{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":%" G_GINT64_FORMAT "}}", pid);
        g_autoptr(json_doc) reply = NULL;
        int r;

        assert(virt && uuid && ret_result && reterr);

        r = guest_agent_command(virt, uuid, command, ANSWER_S, &reply, reterr);
        return r ? r : guest_exec_result_parse(json_root(reply), ret_result, reterr);
}
