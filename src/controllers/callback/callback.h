/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * Callback: what became of images, told to an HTTP endpoint. This controller decides what is to be told, src/gateway/callbacks.c
 * tells it. The spool is the CallbackDelivery objects in the store.
 *
 * Of each object that a callback follows, the newest delivery is the memory of what was told last. A turn compares it with what the
 * object is now, and makes the next delivery when they differ: nothing is missed, whatever ends the gateway between two turns. An
 * object that is gone is noticed by the memory of it. What was so before the callback was made, or is not asked for, is remembered
 * by a delivery that is Skipped.
 */
extern const struct controller callback_controller;

/* What follows from a phase: "ImageReady" of "Ready"; NULL: nothing that is told. */
const char *callback_event_of(const char *phase);
