/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control.h"

/*
 * Each machine that a host holds has a Pod of its name beside it, so that `kubectl get pods`, `describe node` and `drain` see what
 * they look for. A Pod is made when a host is chosen and goes when the host has nothing to run any more; another host is another
 * Pod. It is stored, so that lists, watches and revisions of it are like those of any object; nobody but this controller writes it.
 * Its owner is the machine. Its key is the machine's.
 */
extern const struct controller pod_controller;
