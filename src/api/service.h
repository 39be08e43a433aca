/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "api/call.h"

/* Paths beside the resources: discovery, OpenAPI, version, health, metrics. */
struct service;

/** service_find() - what serves @path, or NULL. */
const struct service *service_find(const char *path);
/** service_answer() - answer a GET of @path; authorised already. */
void service_answer(const struct service *service, struct call *call, const char *path);
