/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "http/server.h"
#include "http/uri.h"
#include "http/ws.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define DIAL_TIME_US      10000000ull
#define DIAL_HEADER_BYTES (16u << 10)

/* Name resolution on a thread of its own, which knows nothing of the loop: it may outlive it. Freed by whoever is last. */
struct dial_lookup {
        gint references;
        int done_fd; /* an eventfd: the thread's word */
        char *host, *port;
        struct addrinfo *addresses;
        int error;
};

enum dial_phase { DIAL_RESOLVING, DIAL_CONNECTING, DIAL_GREETING };

struct http_ws_dial {
        enum dial_phase phase;
        struct http_tls *tls;
        char *host, *port, *target, *protocol;
        char **headers;
        struct dial_lookup *lookup;
        struct loop_source *lookup_source;
        struct addrinfo *addresses, *address; /* address: being tried */
        char key[32];
        GString *answer;
};

static void dial_next_address(struct http_ws *ws);

static void lookup_unref(struct dial_lookup *lookup)
{
        if (!g_atomic_int_dec_and_test(&lookup->references))
                return;
        g_free(lookup->host);
        g_free(lookup->port);
        fd_close(lookup->done_fd);
        if (lookup->addresses)
                freeaddrinfo(lookup->addresses);
        g_free(lookup);
}

static int dial_resolve(const char *host, const char *port, int flags, struct addrinfo **ret_addresses)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};

        return getaddrinfo(host, port, &hints, ret_addresses);
}

static void *lookup_thread(void *userdata)
{
        struct dial_lookup *lookup = userdata;
        const uint64_t one = 1;

        lookup->error = dial_resolve(lookup->host, lookup->port, AI_ADDRCONFIG, &lookup->addresses);
        ssize_t n = write(lookup->done_fd, &one, sizeof(one));
        assert(n == sizeof(one));
        lookup_unref(lookup);
        return NULL;
}

static void dial_end_lookup(struct http_ws_dial *dial)
{
        dial->lookup_source = loop_source_free(dial->lookup_source);
        g_clear_pointer(&dial->lookup, lookup_unref);
}

static void dial_on_lookup(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct http_ws *ws = userdata;
        struct http_ws_dial *dial = ws->dial;

        dial->addresses = dial->address = g_steal_pointer(&dial->lookup->addresses);
        int error = dial->lookup->error;
        dial_end_lookup(dial);
        if (error)
                http_ws_fail(ws, "the name of the peer is not known");
        else
                dial_next_address(ws);
}

static int dial_begin_lookup(struct http_ws *ws)
{
        struct http_ws_dial *dial = ws->dial;
        struct dial_lookup *lookup = g_new0(struct dial_lookup, 1);

        lookup->references = 1;
        lookup->host = g_strdup(dial->host);
        lookup->port = g_strdup(dial->port);
        lookup->done_fd = eventfd(0, EFD_CLOEXEC);
        dial->lookup = lookup;
        if (lookup->done_fd < 0)
                return -errno;
        int r = loop_fd(ws->loop, lookup->done_fd, LOOP_READ, dial_on_lookup, ws, &dial->lookup_source);
        if (r < 0)
                return r;
        g_atomic_int_inc(&lookup->references);
        GThread *thread = g_thread_try_new("resolve", lookup_thread, lookup, NULL);
        if (!thread) {
                lookup_unref(lookup);
                return -EAGAIN;
        }
        g_thread_unref(thread);
        return 0;
}

void http_ws_dial_free(struct http_ws_dial *dial)
{
        if (!dial)
                return;
        dial_end_lookup(dial);
        if (dial->addresses)
                freeaddrinfo(dial->addresses);
        g_free(dial->host);
        g_free(dial->port);
        g_free(dial->target);
        g_free(dial->protocol);
        g_strfreev(dial->headers);
        if (dial->answer)
                g_string_free(dial->answer, TRUE);
        g_free(dial);
}

static void dial_queue_request(struct http_ws *ws)
{
        struct http_ws_dial *dial = ws->dial;
        unsigned char nonce[16];

        random_fill(random_system(), nonce, sizeof(nonce));
        EVP_EncodeBlock((unsigned char *)dial->key, nonce, sizeof(nonce));
        bool bare = strchr(dial->host, ':') == NULL;
        g_autoptr(GString) head = g_string_new(NULL);
        g_string_printf(head,
                        "GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                        dial->target, bare ? "" : "[", dial->host, bare ? "" : "]", dial->port, dial->key);
        if (dial->protocol)
                g_string_append_printf(head, "Sec-WebSocket-Protocol: %s\r\n", dial->protocol);
        for (char **header = dial->headers; header && *header; header++)
                g_string_append_printf(head, "%s\r\n", *header);
        g_string_append(head, "\r\n");
        http_output_copy(&ws->output, head->str, head->len);
}

struct dial_answer {
        llhttp_t inner;
        GString *name, *value;
        char *accept, *protocol;
        bool complete;
};

static int answer_on_field(llhttp_t *inner, const char *at, size_t len)
{
        g_string_append_len(((struct dial_answer *)inner->data)->name, at, len);
        return 0;
}

static int answer_on_value(llhttp_t *inner, const char *at, size_t len)
{
        g_string_append_len(((struct dial_answer *)inner->data)->value, at, len);
        return 0;
}

static int answer_on_value_complete(llhttp_t *inner)
{
        struct dial_answer *answer = inner->data;

        if (g_ascii_strcasecmp(answer->name->str, "Sec-WebSocket-Accept") == 0 && !answer->accept)
                answer->accept = g_strstrip(g_strdup(answer->value->str));
        if (g_ascii_strcasecmp(answer->name->str, "Sec-WebSocket-Protocol") == 0 && !answer->protocol)
                answer->protocol = g_strstrip(g_strdup(answer->value->str));
        g_string_truncate(answer->name, 0);
        g_string_truncate(answer->value, 0);
        return 0;
}

static int answer_on_head(llhttp_t *inner)
{
        ((struct dial_answer *)inner->data)->complete = true;
        return HPE_PAUSED;
}

/* Words for an answer that is no acceptance (RFC 6455 §4.1), or NULL. */
static char *dial_judge(const struct http_ws_dial *dial, const struct dial_answer *answer)
{
        char accept[32];

        if (!answer->complete)
                return g_strdup("the peer's answer is not valid HTTP");
        if (answer->inner.status_code != 101)
                return g_strdup_printf("the peer answered %u", answer->inner.status_code);
        if (!answer->inner.upgrade || !answer->accept || strcmp(answer->accept, http_ws_accept_key(dial->key, accept)) != 0)
                return g_strdup("the peer's WebSocket handshake is not valid");
        if (answer->protocol && g_strcmp0(answer->protocol, dial->protocol) != 0)
                return g_strdup("the peer chose a subprotocol that was not offered");
        return NULL;
}

static char *dial_read_answer(const struct http_ws_dial *dial, size_t len)
{
        static const llhttp_settings_t settings = {
                .on_header_field = answer_on_field,
                .on_header_value = answer_on_value,
                .on_header_value_complete = answer_on_value_complete,
                .on_headers_complete = answer_on_head,
        };
        g_autoptr(GString) name = g_string_new(NULL);
        g_autoptr(GString) value = g_string_new(NULL);
        struct dial_answer answer = {.name = name, .value = value};

        llhttp_init(&answer.inner, HTTP_RESPONSE, &settings);
        answer.inner.data = &answer;
        llhttp_execute(&answer.inner, dial->answer->str, len);
        char *words = dial_judge(dial, &answer);
        g_free(answer.accept);
        g_free(answer.protocol);
        return words;
}

/* The whole head of the answer is there: @len bytes. */
static void dial_conclude(struct http_ws *ws, size_t len)
{
        struct http_ws_dial *dial = ws->dial;

        ws->failure_text = dial_read_answer(dial, len);
        if (ws->failure_text) {
                http_ws_fail(ws, "the peer refused");
                return;
        }
        http_transport_detach(&ws->transport);
        http_ws_preload(ws, dial->answer->str + len, dial->answer->len - len);
        http_ws_dial_free(g_steal_pointer(&ws->dial));
        if (http_ws_start(ws) < 0)
                http_ws_fail(ws, "the event loop refused the connection");
        else if (ws->handlers.on_open)
                ws->handlers.on_open(ws, ws->userdata);
}

static void dial_read(struct http_ws *ws)
{
        struct http_ws_dial *dial = ws->dial;

        for (;;) {
                ssize_t n = http_transport_read(&ws->transport, ws->buffer, sizeof(ws->buffer));
                if (n == -EAGAIN)
                        return;
                if (n <= 0 || dial->answer->len > DIAL_HEADER_BYTES) {
                        http_ws_fail(ws, "the peer ended the connection instead of answering");
                        return;
                }
                g_string_append_len(dial->answer, ws->buffer, n);
                const char *end = memmem(dial->answer->str, dial->answer->len, "\r\n\r\n", 4);
                if (end) {
                        dial_conclude(ws, end + 4 - dial->answer->str);
                        return;
                }
        }
}

static void dial_handshake_failed(struct http_ws *ws)
{
        char words[160];

        long verdict = SSL_get_verify_result(ws->transport.ssl);
        http_tls_error_words(words, sizeof(words));
        ws->failure_text = g_strdup_printf("TLS: %s", verdict == X509_V_OK ? words : X509_verify_cert_error_string(verdict));
        http_ws_fail(ws, "TLS failed");
}

static void dial_greet(struct http_ws *ws)
{
        uint64_t written = 0;
        char scratch[HTTP_OUTPUT_SCRATCH_BYTES];

        int r = http_transport_handshake(&ws->transport);
        if (r < 0 && r != -EAGAIN)
                dial_handshake_failed(ws);
        if (r == 0) {
                r = http_output_flush(&ws->output, &ws->transport, scratch, &written);
                if (r < 0 && r != -EAGAIN)
                        http_ws_fail(ws, "the connection was lost");
                else
                        dial_read(ws);
        }
        if (ws->dial && !ws->lost)
                http_transport_watch(&ws->transport,
                                     LOOP_READ | (ws->output.head || ws->transport.tls_wants_write ? LOOP_WRITE : 0));
}

static void dial_on_event(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct http_ws *ws = userdata;
        int error = 0;
        socklen_t len = sizeof(error);

        if (ws->lost)
                return;
        if (ws->dial->phase == DIAL_CONNECTING) {
                if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
                        ws->dial->address = ws->dial->address->ai_next;
                        dial_next_address(ws);
                        return;
                }
                if (!(events & LOOP_WRITE))
                        return;
                ws->dial->phase = DIAL_GREETING;
                dial_queue_request(ws);
        }
        dial_greet(ws);
}

/* A socket that connects to @address, or -errno. */
static int dial_socket(const struct addrinfo *address)
{
        const int one = 1;

        autofd fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
                return -errno;
        int taken = fd;
        fd = -1;
        return taken;
}

static int dial_attach(struct http_ws *ws, int fd)
{
        int r = http_transport_init(&ws->transport, fd, ws->dial->tls, ws->dial->host);
        if (r == 0)
                r = http_transport_attach(&ws->transport, ws->loop, dial_on_event, ws);
        return r < 0 ? r : http_transport_watch(&ws->transport, LOOP_WRITE);
}

static void dial_next_address(struct http_ws *ws)
{
        struct http_ws_dial *dial = ws->dial;

        http_transport_clear(&ws->transport);
        for (; dial->address; dial->address = dial->address->ai_next) {
                int fd = dial_socket(dial->address);
                if (fd < 0)
                        continue;
                dial->phase = DIAL_CONNECTING;
                if (dial_attach(ws, fd) < 0)
                        http_ws_fail(ws, "no connection could be set up");
                return;
        }
        http_ws_fail(ws, "the peer does not accept connections");
}

static void dial_start(struct http_ws *ws)
{
        struct http_ws_dial *dial = ws->dial;

        if (dial_resolve(dial->host, dial->port, AI_NUMERICHOST, &dial->addresses) == 0) {
                dial->address = dial->addresses;
                dial_next_address(ws);
                return;
        }
        if (dial_begin_lookup(ws) < 0)
                http_ws_fail(ws, "the name of the peer could not be looked up");
}

int http_ws_dial(const struct http_ws_dial_options *options, const struct http_ws_handlers *handlers, void *userdata,
                 struct http_ws **ret_ws)
{
        assert(options && options->loop && options->url && handlers && ret_ws);

        bool tls;
        g_autofree char *host = NULL, *port = NULL;
        const char *target;
        int r = http_uri_split(options->url, &tls, &host, &port, &target);
        if (r < 0)
                return r;
        if (tls != (options->tls != NULL))
                return -EINVAL;
        struct http_ws *ws;
        r = http_ws_new(options->loop, false, http_limits_default(), handlers, userdata, &ws);
        if (r < 0)
                return r;
        ws->dial = g_new0(struct http_ws_dial, 1);
        ws->dial->tls = options->tls;
        ws->dial->host = g_steal_pointer(&host);
        ws->dial->port = g_steal_pointer(&port);
        ws->dial->target = *target == '/' ? g_strdup(target) : g_strconcat("/", target, NULL);
        ws->dial->protocol = g_strdup(options->protocol);
        ws->dial->headers = g_strdupv((char **)options->headers);
        ws->dial->answer = g_string_new(NULL);
        loop_timer_set(ws->timer, options->timeout_us ? options->timeout_us : DIAL_TIME_US);
        *ret_ws = ws;
        dial_start(ws);
        return 0;
}
