/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Request targets (RFC 3986, RFC 9112 §3.2), decoded strictly. Internal to src/http. */

/**
 * http_uri_decode_path() - decode the path of a target once
 * @path: of @len bytes, without query
 * @out: receives the decoded text and a NUL
 *
 * Refused: no leading slash, empty segments ("//"; a slash at the end is fine), "." and ".." segments, bad escapes, escaped
 * slashes, control characters, text that is not UTF-8.
 *
 * Return: 0 or -EINVAL.
 */
int http_uri_decode_path(const char *path, size_t len, GString *out);

/** http_uri_decode_query() - append "name NUL value NUL" for each parameter; '+' is a space. 0 and the number, or -EINVAL (bad
 * escape, control character, not UTF-8). */
int http_uri_decode_query(const char *query, size_t len, GString *out, unsigned *ret_n);

/** http_uri_split() - parts of "http://host:port/path?query"; all newly allocated but @ret_target, which points into @url. A port
 *  that is absent reads 80 or 443. 0 or -EINVAL. */
int http_uri_split(const char *url, bool *ret_tls, char **ret_host, char **ret_port, const char **ret_target);
