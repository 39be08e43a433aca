/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

/*
 * The disk of a machine that is off comes from another host: this host's agent takes the file from the other one's libvirt, and
 * reads what lies here once more from beginning to end. How long the file is says how far it is, so that an agent that begins in
 * the middle goes on there.
 */

/** volume_is_received() - whether an intent is a Volume whose content comes, or came, that way. */
bool volume_is_received(const struct intent *intent);

/** volume_receive() - blocks until all of it is here; the journal knows of the file already, @again: and it may be there. The
 * SHA-256 of the file as it lies here, in the job's arena; NULL with @ret_why, or without it: nobody wants it any more. */
const char *volume_receive(struct job *job, const struct api_volume_spec *spec, bool again, struct api_intent_error **ret_why);
