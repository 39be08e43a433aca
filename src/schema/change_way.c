/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/change_way.h"

#include "base/limits.h"
#include "base/quantity.h"

#include <assert.h>
#include <string.h>

/* Guests set something aside for every byte that could come: room for a machine that grew out of its size, not for every host. */
#define MEMORY_ROOM_TIMES 4
#define MEMORY_ROOM_LEAST (8ull << 10)
/* The addresses of a processor of 39 bits hold it, and the devices beside it. */
#define MEMORY_ROOM_MOST (256ull << 10)
/* A guest measures its tables by all that it was started with: it starves long before nothing is left. */
#define MEMORY_LEAST_SHARE 4
#define MEMORY_LEAST_MIB   128

const struct change_field change_fields[] = {
        {"metadata.name", CHANGE_NEVER, CHANGE_NEVER, CHANGE_NO_RULE, "names are for ever; a clone has another one"},
        {"metadata.labels", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE, "selectors of others follow at once"},
        {"metadata.annotations", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE, "notes for people and tools"},
        {"runPolicy", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE, "it may start or stop the machine at once"},
        {"virtualMachineIPAddressName", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE,
         "the guest learns its address when it starts"},
        {"nodeSelector", CHANGE_MIGRATION, CHANGE_MIGRATION, CHANGE_NO_RULE, "what runs stays on its host"},
        {"affinity", CHANGE_MIGRATION, CHANGE_MIGRATION, CHANGE_NO_RULE, "what runs stays on its host"},
        {"tolerations", CHANGE_MIGRATION, CHANGE_MIGRATION, CHANGE_NO_RULE, "what runs stays on its host"},
        {"topologySpreadConstraints", CHANGE_MIGRATION, CHANGE_MIGRATION, CHANGE_NO_RULE, "what runs stays on its host"},
        {"disruptions", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE,
         "changes that wait are looked at again; room to grow comes with the next start"},
        {"terminationGracePeriodSeconds", CHANGE_RESTART, CHANGE_AT_ONCE, CHANGE_NO_RULE, "the host is told"},
        {"enableParavirtualization", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "it changes every device of the guest"},
        {"osId", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE,
         "a name; what follows from it is written when the machine is made"},
        {"osType", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "it changes what processor and clock tell the guest"},
        {"bootloader", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "firmware runs when the machine starts"},
        {"tpm", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "firmware finds it when the machine starts"},
        {"watchdog", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "the guest finds it when it boots"},
        {"graphics", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "QEMU opens the way to its screen when it starts"},
        {"virtualMachineClassName", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "it changes the processor that the guest sees"},
        {"cpu.cores", CHANGE_RESTART, CHANGE_LIVE, CHANGE_CORES,
         "more come live, up to the room that the machine was started with; fewer wait for a restart"},
        {"cpu.maxCores", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "room to grow comes with the start"},
        {"cpu.coreFraction", CHANGE_RESTART, CHANGE_LIVE, CHANGE_NO_RULE, "the weight of its processors on the host"},
        {"memory.size", CHANGE_RESTART, CHANGE_LIVE, CHANGE_MEMORY,
         "more comes live in steps of 128Mi, up to the room that the machine was started with; less is asked of the guest, down to "
         "a quarter"},
        {"blockDeviceRefs", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE,
         "disks that come and go while it runs are VirtualMachineBlockDeviceAttachments; with Live the ISO image of a CD drive is "
         "exchanged at once"},
        {"provisioning", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE, "the guest reads it when it boots"},
        {"liveMigrationPolicy", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE, "it speaks of the next migration"},
        {"networks.linkState", CHANGE_LIVE, CHANGE_LIVE, CHANGE_NO_RULE,
         "a cable is pulled or plugged in, whatever applyMode says"},
        {"networks", CHANGE_RESTART, CHANGE_RESTART, CHANGE_NO_RULE,
         "interfaces are made when the machine starts; with Live all but the first come and go while it runs"},
        {"securityGroups", CHANGE_AT_ONCE, CHANGE_AT_ONCE, CHANGE_NO_RULE, "the rules on its host follow"},
        {NULL, CHANGE_WAYS, CHANGE_WAYS, CHANGE_NO_RULE, NULL},
};

static const struct {
        const char *words, *doc;
} ways[CHANGE_WAYS] = {
        [CHANGE_AT_ONCE] = {"at once", "takes effect as it is written; neither guest nor QEMU is asked"},
        [CHANGE_LIVE] = {"live", "QEMU does it while the guest runs"},
        [CHANGE_RESTART] = {"by a restart", "waits in status.restartAwaitingChanges for the next start"},
        [CHANGE_MIGRATION] = {"by migration",
                              "counts when the machine is placed the next time: at its next start, or when it moves"},
        [CHANGE_NEVER] = {"never", "is refused as long as the machine is there"},
};

const char *change_way_words(enum change_way way)
{
        assert(way < CHANGE_WAYS);
        return ways[way].words;
}

const char *change_way_doc(enum change_way way)
{
        assert(way < CHANGE_WAYS);
        return ways[way].doc;
}

/* Whether @path is @row or a part of it. Places in lists do not count: networks.1.linkState is of networks.linkState. */
static bool is_of(const char *row, const char *path)
{
        size_t digits;

        while (*row && *row == *path) {
                row++;
                path++;
                digits = path[-1] == '.' ? strspn(path, "0123456789") : 0;
                if (digits > 0 && (path[digits] == '.' || !path[digits]))
                        path += path[digits] ? digits + 1 : digits;
        }
        return !*row && (!*path || *path == '.');
}

const struct change_field *change_field_find(const char *path)
{
        assert(path);
        for (const struct change_field *field = change_fields; field->path; field++)
                if (is_of(field->path, path))
                        return field;
        return NULL;
}

bool change_is_refined(const char *name)
{
        size_t len;

        assert(name);
        len = strlen(name);
        for (const struct change_field *field = change_fields; field->path; field++)
                if (strncmp(field->path, name, len) == 0 && field->path[len] == '.')
                        return true;
        return false;
}

/* --- sizes --- */

static uint64_t mib_of(const struct json_value *value)
{
        uint64_t bytes = 0;

        if (!value || quantity_parse_bytes(json_string(value, ""), &bytes) != 0)
                return 0;
        return (bytes + (1u << 20) - 1) >> 20;
}

int64_t change_cores_room(int64_t cores)
{
        /* Full sockets: the guest sees as many of them as cores of its size are spread over, and those that are there in them. */
        static const int64_t full[] = {16, 32, 64, LIMIT_CPU_CORES};

        for (size_t i = 0; i < G_N_ELEMENTS(full); i++)
                if (cores <= full[i])
                        return full[i];
        return cores;
}

uint64_t change_memory_room(uint64_t memory_mib)
{
        uint64_t room = MAX(memory_mib * MEMORY_ROOM_TIMES, MEMORY_ROOM_LEAST);

        return MAX(MIN(room, MEMORY_ROOM_MOST), memory_mib);
}

uint64_t change_memory_least(uint64_t memory_mib)
{
        return MIN(memory_mib, MAX(memory_mib / MEMORY_LEAST_SHARE, MEMORY_LEAST_MIB));
}

static const char *cores_words(const struct change_machine *machine, const struct json_value *desired)
{
        int64_t cores = 0;

        if (json_int64(desired, &cores) != 0 || cores < machine->cores)
                return "processors are not taken from a machine that runs";
        if (cores <= machine->cores_most)
                return NULL;
        return machine->cores_most == machine->cores ? "the machine was not started with room for more processors"
                                                     : "the machine was started with room for fewer processors";
}

static const char *memory_words(const struct change_machine *machine, const struct json_value *desired)
{
        uint64_t mib = mib_of(desired);

        if (mib < machine->memory_least_mib)
                return machine->memory_least_mib == machine->memory_full_mib
                               ? "memory is not taken from a machine that runs"
                               : "a guest that runs keeps a quarter of its memory, and 128Mi";
        if (mib <= machine->memory_full_mib)
                return NULL;
        if (mib > machine->memory_most_mib)
                return machine->memory_most_mib == machine->memory_full_mib
                               ? "the machine was not started with room for more memory"
                               : "the machine was started with room for less memory";
        return (mib - machine->memory_full_mib) % CHANGE_MEMORY_STEP_MIB ? "memory comes to a machine that runs in steps of 128Mi"
                                                                         : NULL;
}

enum change_way change_judge(const struct change_machine *machine, const char *path, const struct json_value *current,
                             const struct json_value *desired, const char **reterr_words)
{
        const struct change_field *field = change_field_find(path);
        const char *words = NULL;
        enum change_way way;

        assert(machine && reterr_words);
        if (!field)
                return CHANGE_RESTART; /* D78: every other one */
        way = machine->live ? field->live : field->way;
        if (way != CHANGE_LIVE)
                return way;
        if (field->rule == CHANGE_CORES)
                words = cores_words(machine, desired);
        else if (field->rule == CHANGE_MEMORY)
                words = memory_words(machine, desired);
        if (!words)
                return CHANGE_LIVE;
        *reterr_words = words;
        return CHANGE_RESTART;
}

bool change_equal(const char *path, const struct json_value *a, const struct json_value *b)
{
        const struct change_field *field = change_field_find(path);

        if (!a || !b)
                return a == b;
        return json_equal(a, b) || (field && field->rule == CHANGE_MEMORY && mib_of(a) > 0 && mib_of(a) == mib_of(b));
}

/* --- the manual --- */

void change_manual(GString *page)
{
        assert(page);
        g_string_append(page, "# Changes of a machine\n\nMade by the build of the table that decides.\n\n"
                              "| Way | |\n|---|---|\n");
        for (unsigned way = 0; way < CHANGE_WAYS; way++)
                g_string_append_printf(page, "| %s | %s |\n", ways[way].words, ways[way].doc);
        g_string_append(page, "\nHow a change comes to a machine that runs; a machine that is off takes everything at its start. "
                              "Fields that no row names come by a restart.\n\n"
                              "| Field | `applyMode: Restart` | `applyMode: Live` | |\n|---|---|---|---|\n");
        for (const struct change_field *field = change_fields; field->path; field++)
                g_string_append_printf(page, "| %s%s | %s | %s | %s |\n", g_str_has_prefix(field->path, "metadata.") ? "" : "spec.",
                                       field->path, ways[field->way].words, ways[field->live].words, field->doc);
}
