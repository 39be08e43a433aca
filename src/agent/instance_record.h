/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/job.h"

/*
 * The guest hardware record of an Instance (decision 3): which one counts, which parts of it still do, and making it. Besides what
 * libvirt made of the domain it holds what was asked for when it was made ("asked"), so that a machine which is given another class
 * or firmware gets it, and one whose host changed its mind does not; and, where the class takes the host's processor, every feature
 * of it ("cpu.requires"), by which other hosts are judged.
 */

/** instance_record() - the record to go by, or NULL: the first start is still to come. */
const struct json_value *instance_record(const struct api_instance *instance, const struct api_instance_status *told);

/** instance_record_parts() - enum virt_part: what of @record the Instance still asks for as it did. */
unsigned instance_record_parts(const struct json_value *record, const struct api_instance_spec *spec);

/** instance_record_fits() - whether @record was made for what the Instance asks for, and is whole. */
bool instance_record_fits(const struct json_value *record, const struct api_instance_spec *spec);

/**
 * instance_record_make() - the record of a domain as libvirt has it, defined for @instance
 * @before: the record that it was made by, or NULL
 */
struct json_value *instance_record_make(struct job *job, const struct api_instance *instance, const struct virt_domain *domain,
                                        const struct json_value *before, struct json_doc *doc);
