/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * How a change of a VirtualMachine reaches the machine while it runs (D75-D78): one table, read by the controller that applies it,
 * by `gabbro set` and `gabbro explain change`, and printed in the manual.
 */
enum change_way {
        CHANGE_AT_ONCE,   /* takes effect as it is written; neither guest nor QEMU is asked */
        CHANGE_LIVE,      /* QEMU does it while the guest runs */
        CHANGE_RESTART,   /* with the next start of the machine */
        CHANGE_MIGRATION, /* when the machine is placed the next time; what runs stays where it is */
        CHANGE_NEVER,     /* refused as long as the machine is there */
        CHANGE_WAYS,
};

/* What decides whether a value can come live. */
enum change_rule { CHANGE_NO_RULE, CHANGE_CORES, CHANGE_MEMORY };

struct change_field {
        const char *path;     /* below spec, unless it begins with "metadata." */
        enum change_way way;  /* disruptions.applyMode Restart */
        enum change_way live; /* disruptions.applyMode Live */
        enum change_rule rule;
        const char *doc; /* one sentence */
};
/* In the order of the specification; ends with a NULL path. */
extern const struct change_field change_fields[];

/** change_way_words() - the words of the manual and of the command line: "at once", "live", ... */
const char *change_way_words(enum change_way way);
/** change_way_doc() - what a way means, one sentence. */
const char *change_way_doc(enum change_way way);

/**
 * change_field_find() - the row that counts for @path ("cpu.cores", "networks.1.name", "blockDeviceRefs.0"): its own, or the one of
 * what it is a part of; NULL for what no row speaks of
 */
const struct change_field *change_field_find(const char *path);

/** change_is_refined() - whether rows speak of parts of the member @name of the specification. */
bool change_is_refined(const char *name);

/* Memory comes to a running machine in steps of this size, which is what guests take. */
#define CHANGE_MEMORY_STEP_MIB 128

/* What a running machine has, and how far it can grow while it runs; both mosts are what it has when it has no room. */
struct change_machine {
        bool live; /* disruptions.applyMode is Live */
        int64_t cores, cores_most;
        uint64_t memory_mib, memory_most_mib;
        uint64_t memory_full_mib;  /* that its guest can take without being given more; not below memory_mib */
        uint64_t memory_least_mib; /* that its guest can be asked to make do with; memory_full_mib: it cannot */
};

/**
 * change_judge() - how @path comes to a running machine; @current is what it has, @desired what is wanted, either may be NULL
 * @reterr_words: set to why it has to wait for a restart although the field as such could come live; else left alone
 */
enum change_way change_judge(const struct change_machine *machine, const char *path, const struct json_value *current,
                             const struct json_value *desired, const char **reterr_words);

/**
 * change_equal() - whether two values of @path are one: sizes are compared as numbers, so that 1Gi and 1024Mi are no change
 */
bool change_equal(const char *path, const struct json_value *a, const struct json_value *b);

/** change_cores_room() - how many cores a machine of @cores has room for when it is started with applyMode Live and says nothing of
 * it. */
int64_t change_cores_room(int64_t cores);
/** change_memory_room() - the same for its memory. */
uint64_t change_memory_room(uint64_t memory_mib);
/** change_memory_least() - what a guest that has @memory_mib can be asked to make do with while it runs. */
uint64_t change_memory_least(uint64_t memory_mib);

/** change_manual() - append the page of the reference manual. */
void change_manual(GString *page);
