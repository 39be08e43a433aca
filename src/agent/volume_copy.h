/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"
#include "virt/pools.h"

/*
 * A volume whose content is another volume of this host: sharing its blocks, reading from it, or copied whole. The source may be a
 * disk of a running domain; its guest agent holds its file systems still for a moment when it answers. The journal knows whether
 * the guest stands still and how the copy was made; what a kill leaves behind is ended by volume_copy_mend().
 */

/** volume_copy_mend() - what an attempt before left at the source: the guest is let go on, a copy under way is ended. 0, or an
 *  outcome of src/virt with @reterr: the volume's own file must stay. */
int volume_copy_mend(struct job *job, const struct api_volume_spec *spec, struct virt_error *reterr);

enum volume_copy {
        VOLUME_COPY_MADE,      /* the file is complete, as large as its source at least, and @ret_how tells how it was made */
        VOLUME_COPY_FAILED,    /* @ret_why says why; what was made is to be undone */
        VOLUME_COPY_OVERTAKEN, /* the machine that had the source open ended meanwhile; what was made is to be undone, and it is
                                  tried again */
        VOLUME_COPY_REFUSED,   /* the same, and nothing was made */
        VOLUME_COPY_WAITS,     /* nothing was made: another disk of the same running machine is being copied; it is tried again */
};
/** volume_copy() - make the file of a Volume with spec.copy, its journal step being begun. */
enum volume_copy volume_copy(struct job *job, const struct api_volume_spec *spec, struct api_volume_copied *ret_how,
                             struct api_intent_error **ret_why);

/** volume_copy_waits() - words about what must end before the source can be read, or NULL. */
const char *volume_copy_waits(const struct job *job);

/** volume_copied() - how the volume was copied when it was made, or NULL; all of it in the job's arena. */
struct api_volume_copied *volume_copied(const struct job *job);
/** volume_copied_note() - write it down for those who come after a kill, before the creation is noted as done. */
int volume_copied_note(struct job *job, const struct api_volume_copied *how);
/** volume_copied_forget() - the file is undone. */
void volume_copied_forget(struct job *job);
