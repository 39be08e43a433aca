/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "virt/domains.h"

/*
 * Every domain that libvirt knows, ours and others', with the files it names and the interfaces it makes: for comparing a host with
 * what it should hold, and for knowing that nobody uses a thing.
 */
struct virt_census_file {
        const char *path; /* file or device of a disk, also those that stand behind it */
        bool writable;    /* neither read-only nor shareable, and not a backing file */
        bool live;        /* of the running domain; else only of its definition */
};

struct virt_census_domain {
        char uuid[37];
        const char *name;
        bool ours; /* carries our metadata */
        bool active, persistent;
        int id; /* -1: not running */
        enum virt_state state;
        const char *machine_uid, *instance_uid; /* "" when it is not ours */
        const char *machine_namespace, *machine_name;
        int64_t generation, epoch;
        struct virt_census_file *files;
        size_t n_files;
        const char **taps;
        size_t n_taps;
};

struct virt_census {
        struct arena *arena;
        struct virt_census_domain *domains; /* in the order of their UUIDs */
        size_t n;
};
struct virt_census *virt_census_free(struct virt_census *census);
AUTOPTR(virt_census, virt_census_free);

/** virt_census_take() - ask libvirt now; a domain that vanishes meanwhile is left out. Outcomes of virt.h. */
int virt_census_take(struct virt *virt, struct virt_census **ret_census, struct virt_error *reterr);

/** virt_census_user() - a domain that names the file @path, or NULL. */
const struct virt_census_domain *virt_census_user(const struct virt_census *census, const char *path);

/**
 * virt_file_user() - the running domain, whoever's it is, that has the file as a disk or behind one
 * @ret_name: its name, g_free(); NULL when there is none
 *
 * One question for each running domain and none for the others: also a host with many is asked soon enough for each file.
 */
int virt_file_user(struct virt *virt, const char *path, char **ret_name, struct virt_error *reterr);

/* The running domain that has a file. */
struct virt_file_holder {
        char *name; /* NULL: none has it */
        char uuid[37];
        bool own;  /* carries our metadata */
        bool disk; /* the file is a disk that it writes to; else it stands behind one, or is only read */
};
void virt_file_holder_clear(struct virt_file_holder *holder);

/** virt_file_holder() - virt_file_user() with what is to be known before the file is changed under the domain's eyes. */
int virt_file_holder(struct virt *virt, const char *path, struct virt_file_holder *ret_holder, struct virt_error *reterr);
