/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

/* The words of the tus protocol 1.0.0 for resumable uploads (https://tus.io/protocols/resumable-upload): its headers, read. */

#define TUS_VERSION    "1.0.0"
#define TUS_EXTENSIONS "creation,creation-with-upload,checksum,expiration,termination"
#define TUS_ALGORITHMS "sha1,sha256,sha512"
#define TUS_BODY_TYPE  "application/offset+octet-stream"
#define TUS_DATE_MAX   30

/** tus_parse_number() - Upload-Offset, Upload-Length: decimal digits up to INT64_MAX. 0 or -EINVAL (also NULL). */
int tus_parse_number(const char *text, uint64_t *ret_number);

/** tus_metadata_is_valid() - "key base64,key2 base64b,key3": keys without spaces and commas, each once, not too long in all. */
bool tus_metadata_is_valid(const char *text);

/* Upload-Checksum: what the bytes of one request must hash to. */
struct tus_checksum {
        const EVP_MD *algorithm;
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned len;
};
/** tus_parse_checksum() - "sha1 BASE64". 0, or -EINVAL: none of TUS_ALGORITHMS, or no digest of it. */
int tus_parse_checksum(const char *text, struct tus_checksum *ret_checksum);

/** tus_format_date() - "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7). @text holds TUS_DATE_MAX bytes. */
char *tus_format_date(uint64_t real_us, char *text);
