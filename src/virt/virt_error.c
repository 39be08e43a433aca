/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/virt_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What an error code of libvirt means to a caller; everything else is VIRT_E_FAILED. */
static const struct {
        int code;
        int outcome;
        const char *reason; /* NULL: the caller's */
} meanings[] = {
        {VIR_ERR_NO_DOMAIN, VIRT_E_MISSING, "DomainLost"},
        {VIR_ERR_NO_DOMAIN_METADATA, VIRT_E_MISSING, NULL},
        {VIR_ERR_NO_STORAGE_POOL, VIRT_E_MISSING, "PoolNotActive"},
        {VIR_ERR_NO_STORAGE_VOL, VIRT_E_MISSING, "VolumeMissing"},
        {VIR_ERR_DOM_EXIST, VIRT_E_EXISTS, "DomainNameTaken"},
        {VIR_ERR_STORAGE_VOL_EXIST, VIRT_E_EXISTS, "VolumeExists"},
        {VIR_ERR_OPERATION_INVALID, VIRT_E_STATE, NULL},
        {VIR_ERR_OPERATION_DENIED, VIRT_E_STATE, NULL},
        {VIR_ERR_AGENT_UNRESPONSIVE, VIRT_E_STATE, NULL},
        {VIR_ERR_AGENT_UNSYNCED, VIRT_E_TIMEOUT, NULL},
        {VIR_ERR_OPERATION_TIMEOUT, VIRT_E_TIMEOUT, NULL},
        {VIR_ERR_OPERATION_ABORTED, VIRT_E_CANCELLED, NULL},
        {VIR_ERR_XML_ERROR, VIRT_E_INVALID, NULL},
        {VIR_ERR_XML_DETAIL, VIRT_E_INVALID, NULL},
        {VIR_ERR_INVALID_ARG, VIRT_E_INVALID, NULL},
        {VIR_ERR_NO_CONNECT, VIRT_E_UNREACHABLE, "LibvirtUnreachable"},
        {VIR_ERR_INVALID_CONN, VIRT_E_UNREACHABLE, "LibvirtUnreachable"},
        {VIR_ERR_RPC, VIRT_E_UNREACHABLE, "LibvirtUnreachable"},
        {VIR_ERR_AUTH_FAILED, VIRT_E_UNREACHABLE, "LibvirtUnreachable"},
};

/* The transport's own failures: "client socket is closed", "connection reset", "keepalive timeout". */
static bool is_transport(const virError *error)
{
        return error->domain == VIR_FROM_RPC && (error->code == VIR_ERR_INTERNAL_ERROR || error->code == VIR_ERR_SYSTEM_ERROR ||
                                                 error->code == VIR_ERR_OPERATION_FAILED);
}

static bool is_full(const virError *error)
{
        return (error->code == VIR_ERR_SYSTEM_ERROR && (error->int1 == ENOSPC || error->int1 == EDQUOT)) ||
               (error->message &&
                (strstr(error->message, "No space left on device") || strstr(error->message, "Disk quota exceeded")));
}

static size_t clean(const char *text, char *buffer, size_t room)
{
        g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);
        size_t n = 0;

        for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
                size_t len = (size_t)(g_utf8_next_char(p) - p);
                gunichar character = g_utf8_get_char(p);
                /* What turns the direction of a line, or is not seen, is no more plain than an escape. */
                bool blank = *p == ' ' || g_unichar_iscntrl(character) || g_unichar_type(character) == G_UNICODE_FORMAT;

                if (n + (blank ? 1 : len) >= room)
                        break;
                if (!blank) {
                        memcpy(buffer + n, p, len);
                        n += len;
                } else if (n && buffer[n - 1] != ' ') {
                        buffer[n++] = ' ';
                }
        }
        while (n && buffer[n - 1] == ' ')
                n--;
        buffer[n] = '\0';
        return n;
}

void virt_words_set(struct virt_error *reterr, const char *text)
{
        assert(reterr);
        clean(text, reterr->words, sizeof(reterr->words));
}

char *virt_clean_text(const char *text, size_t max_bytes)
{
        char *buffer = g_malloc(max_bytes + 1);

        clean(text, buffer, max_bytes + 1);
        return buffer;
}

static int translate(const virError *error, const char **reason)
{
        if (is_transport(error)) {
                *reason = "LibvirtUnreachable";
                return VIRT_E_UNREACHABLE;
        }
        if (is_full(error)) {
                *reason = "PoolFull";
                return VIRT_E_NO_SPACE;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(meanings); i++)
                if (meanings[i].code == error->code) {
                        if (meanings[i].reason)
                                *reason = meanings[i].reason;
                        return meanings[i].outcome;
                }
        return VIRT_E_FAILED;
}

int virt_fail(struct virt_error *reterr, const char *reason)
{
        virErrorPtr error = virGetLastError();
        int outcome = error ? translate(error, &reason) : VIRT_E_FAILED;

        assert(reterr && reason);

        *reterr = (struct virt_error){
                .code = error ? error->code : 0,
                .domain = error ? error->domain : 0,
                .reason = reason,
        };
        virt_words_set(reterr, error && error->message ? error->message : "libvirt gave no reason");
        return outcome;
}

int virt_say(struct virt_error *reterr, int outcome, const char *reason, const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list args;

        assert(reterr && outcome > 0 && reason && format);

        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
        *reterr = (struct virt_error){.reason = reason};
        virt_words_set(reterr, text);
        return outcome;
}

bool virt_error_is(int code)
{
        virErrorPtr error = virGetLastError();

        return error && error->code == code;
}
