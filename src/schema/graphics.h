/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"

#include <stdbool.h>

/* Passwords of screens that listen for TCP, as the gateway makes them and keeps them in Secrets. */

#define GRAPHICS_PASSWORD_CHARACTERS 8 /* VNC looks at no more */
#define GRAPHICS_PASSWORD_KEY        "password"
#define GRAPHICS_SECRET_TYPE         "gabbro.dev/graphics-password"
#define GRAPHICS_SECRET_PREFIX       "graphics-"

/** graphics_secret_name() - of the Secret of a machine; g_free(). */
char *graphics_secret_name(const char *machine_uid);
/** graphics_password_make() - a new one as base64; g_free(). */
char *graphics_password_make(const struct random_source *random);
/** graphics_password_fits() - whether base64 text holds 1 to 8 printable characters without blanks. */
bool graphics_password_fits(const char *base64);
