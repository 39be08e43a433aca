/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The first byte in a string that does not stand for itself, some bytes at a time:
 *
 *   json_scan_special(s)   marks, among the JSON_SCAN_BYTES bytes at s, quotes, backslashes, control characters and bytes above
 * 0x7f; 0 when there are none. Only the lowest mark is exact. json_scan_first(marks) its place; marks is not 0
 */
#ifdef __SSE2__
#include "json/scan_sse2.h"
#else
#include "json/scan_swar.h"
#endif
