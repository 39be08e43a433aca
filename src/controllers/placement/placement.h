/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "cache/cache.h"
#include "generated/api_types.h"

/*
 * Where a machine may run. Every rule is asked about every node, so that a "no" names all reasons at once (D29, D48, A62). The
 * choice among the nodes that fit is a policy: the one with the most room left afterwards, by the scarcer of CPU and memory; then
 * by name.
 */

/* Data of the machine that lies on one node. */
struct placement_pin {
        const char *node;
        const char *what; /* "disk root" */
};

struct placement_request {
        const struct cache_object *machine; /* VirtualMachine */
        const struct cache_object *class;   /* VirtualMachineClass, or NULL */
        uint64_t cpu_milli;                 /* guaranteed: cores x coreFraction */
        uint64_t memory_mib;                /* with overhead */
        const struct placement_pin *pins;
        size_t n_pins;
        const char *const *pools;   /* StoragePools that must be usable */
        const uint64_t *pool_bytes; /* sizes of new disks in each of them together; NULL: none */
        size_t n_pools;
        const char *leaves;              /* it runs on this node and goes to another one without a break; NULL: it is off */
        const char *only;                /* no other node is asked; NULL: all are */
        const struct api_pair *selector; /* labels that the node must have besides, or NULL */
        size_t n_selector;
        bool has_port; /* the screen of what goes to another node listens for TCP */
        bool in_place; /* it runs there already and only starts anew: cordon and taints do not count */
};

/* One node that a rule refuses. */
struct placement_refusal {
        const char *node;
        const char *rule;  /* "Memory": see placement_rules */
        const char *words; /* "has 512 MiB of memory free, 2048 MiB are needed" */
};

struct placement {
        const char *node; /* NULL: none fits */
        size_t n_nodes;   /* how many were asked */
        struct placement_refusal *refusals;
        size_t n_refusals;
};

/** placement_choose() - the node for a machine, and every reason against the others; everything lives in @arena. */
struct placement placement_choose(const struct cache *cache, const struct placement_request *request, struct arena *arena);

/**
 * placement_has_room() - whether a machine that runs on @node may take @request's CPU and memory there; where it may start is not
 * asked
 * @reterr_words: "has 512 MiB of memory free, 2048 MiB are needed"
 */
bool placement_has_room(const struct cache *cache, const struct cache_object *node, const struct placement_request *request,
                        struct arena *arena, const char **reterr_words);

/** placement_violation() - what machine or class ask of hosts and @node, on which it runs, is not ("lacks the labels ..."), or
 * NULL; in @arena. Room, taints and cordon are not asked: what runs there may stay. */
const char *placement_violation(const struct cache *cache, const struct cache_object *machine, const struct cache_object *node,
                                struct arena *arena);

/** placement_words() - one sentence about why no node fits, with every node's reasons. */
const char *placement_words(const struct placement *placement, struct arena *arena);

/** placement_guaranteed_milli() - thousandths of cores that are set aside for @cores at @fraction percent. */
uint64_t placement_guaranteed_milli(uint64_t cores, unsigned fraction_percent);
/** placement_overhead_mib() - memory that the emulator takes besides the guest's. */
uint64_t placement_overhead_mib(uint64_t cores, uint64_t memory_mib);

/** placement_pool_words() - why a node cannot take a disk of @bytes in a StoragePool now ("does not have ..."), or NULL. */
const char *placement_pool_words(const struct cache *cache, const struct cache_object *node, const char *pool, uint64_t bytes,
                                 struct arena *arena);

/** placement_node_ready() - whether the node's condition Ready is True. */
bool placement_node_ready(const struct cache_object *node);
/** placement_class_fits() - whether machines of a class can run on a node; the reason why not in @ret_words (may be NULL). */
bool placement_class_fits(const struct api_virtual_machine_class *class, const struct cache_object *node, struct arena *arena,
                          const char **ret_words);

/* The rules in the order of asking, ends with NULL; the manual prints it. */
struct placement_rule_doc {
        const char *name;
        const char *doc;
};
extern const struct placement_rule_doc placement_rules[];
