/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Many clients that watch: how many events reach them in a second. The writers of the events belong to it. And the peer: a bare
 * program that writes one TLS record for each event to each client, and does nothing else.
 *
 * usage: watchers read PORT TOKEN PATH WATCHERS EVENTS | watchers serve WATCHERS EVENTS BYTES | watchers patch PORT TOKEN PATH
 * OBJECTS EVENTS read prints deliveries per second; PATH is an object, which is watched in its collection and changed EVENTS times.
 * TOKEN "-": the peer's clients, which only read. patch prints patches per second; PATH holds objects m000000 and on, which are
 * labelled in turn.
 */
#define WRITERS  4
#define PATCHERS 32
#define DIALERS  16 /* on a machine with other work a handshake takes the time of several switches */
#define TURN     (256u << 10)

static void must(bool good, const char *what)
{
        if (good)
                return;
        (void)fprintf(stderr, "watchers: %s failed: %s\n", what, g_strerror(errno));
        exit(1);
}

struct bench {
        unsigned port, events;
        const char *token, *path;
        SSL_CTX *tls;
        unsigned begun;   /* events that a writer has taken */
        unsigned objects; /* that are patched; 0: one is, by its data */
};

struct watcher {
        SSL *ssl;
        int fd;
        unsigned events;
        char last;
};

static SSL *dial(const struct bench *bench)
{
        const struct sockaddr_in address = {
                .sin_family = AF_INET, .sin_port = htons((uint16_t)bench->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        SSL *ssl = SSL_new(bench->tls);

        must(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "connect");
        SSL_set_fd(ssl, fd);
        must(SSL_connect(ssl) == 1, "TLS");
        return ssl;
}

static void send_text(SSL *ssl, const char *text)
{
        must(SSL_write(ssl, text, (int)strlen(text)) > 0, "send");
}

/* --- writers
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void await_answer(SSL *ssl)
{
        g_autoptr(GString) text = g_string_new(NULL);
        char piece[16384];

        for (;;) {
                const char *head = strstr(text->str, "\r\n\r\n"), *length = strstr(text->str, "Content-Length: ");
                int n;

                if (head && length && text->len >= (size_t)(head + 4 - text->str) + strtoul(length + 16, NULL, 10))
                        break;
                n = SSL_read(ssl, piece, sizeof(piece));
                must(n > 0, "read an answer");
                g_string_append_len(text, piece, n);
        }
        must(g_str_has_prefix(text->str, "HTTP/1.1 200"), text->str);
}

static void *run_writer(void *userdata)
{
        struct bench *bench = userdata;
        SSL *ssl = dial(bench);
        unsigned number;

        while ((number = __atomic_fetch_add(&bench->begun, 1, __ATOMIC_RELAXED)) < bench->events) {
                g_autofree char *body = bench->objects ? g_strdup_printf("{\"metadata\":{\"labels\":{\"turn\":\"%u\"}}}", number)
                                                       : g_strdup_printf("{\"data\":{\"n\":\"%u\"}}", number);
                g_autofree char *path =
                        bench->objects ? g_strdup_printf("%s/m%06u", bench->path, number % bench->objects) : g_strdup(bench->path);
                g_autofree char *request =
                        g_strdup_printf("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                                        "Content-Type: application/merge-patch+json\r\nContent-Length: %zu\r\n\r\n%s",
                                        path, bench->token, strlen(body), body);

                send_text(ssl, request);
                await_answer(ssl);
        }
        SSL_free(ssl);
        return NULL;
}

/* --- clients
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void watcher_begin(const struct bench *bench, struct watcher *watcher)
{
        g_autofree char *collection = g_path_get_dirname(bench->path), *name = g_path_get_basename(bench->path);
        g_autofree char *request = g_strdup_printf("GET %s?watch=true&fieldSelector=metadata.name%%3D%s&sendInitialEvents=false"
                                                   "&resourceVersionMatch=NotOlderThan HTTP/1.1\r\nHost: x\r\n"
                                                   "Authorization: Bearer %s\r\n\r\n",
                                                   collection, name, bench->token);
        char answer[4096];
        size_t len = 0;

        watcher->ssl = dial(bench);
        watcher->fd = SSL_get_fd(watcher->ssl);
        send_text(watcher->ssl, request);
        do {
                int n = SSL_read(watcher->ssl, answer + len, (int)(sizeof(answer) - 1 - len));
                must(n > 0, "read a head");
                len += (size_t)n;
                answer[len] = 0;
        } while (!strstr(answer, "\r\n\r\n"));
        must(g_str_has_prefix(answer, "HTTP/1.1 200"), answer);
        must(fcntl(watcher->fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

/* Events end in "}\n". */
static void watcher_read(struct watcher *watcher, char *buffer)
{
        int n;

        while ((n = SSL_read(watcher->ssl, buffer, TURN)) > 0) {
                const char *end = buffer + n;

                if (watcher->last == '}' && buffer[0] == '\n')
                        watcher->events++;
                for (const char *at = buffer + 1; (at = memchr(at, '\n', (size_t)(end - at))); at++)
                        watcher->events += at[-1] == '}';
                watcher->last = end[-1];
        }
        must(SSL_get_error(watcher->ssl, n) == SSL_ERROR_WANT_READ, "read events");
}

static double run_clients(struct bench *bench, struct watcher *watchers, unsigned n)
{
        pthread_t writers[WRITERS];
        g_autofree char *buffer = g_malloc(TURN);
        int poll = epoll_create1(EPOLL_CLOEXEC);
        bool writes = strcmp(bench->token, "-") != 0;
        uint64_t total = 0, begin;

        for (unsigned i = 0; i < n; i++) {
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = &watchers[i]};
                must(epoll_ctl(poll, EPOLL_CTL_ADD, watchers[i].fd, &event) == 0, "epoll");
        }
        begin = clock_monotonic_us(clock_system());
        for (unsigned i = 0; writes && i < WRITERS; i++)
                must(pthread_create(&writers[i], NULL, run_writer, bench) == 0, "thread");
        while (total < (uint64_t)n * bench->events) {
                struct epoll_event events[256];
                int ready = epoll_wait(poll, events, G_N_ELEMENTS(events), 60000);

                must(ready > 0, "await events");
                for (int i = 0; i < ready; i++) {
                        struct watcher *watcher = events[i].data.ptr;
                        unsigned before = watcher->events;

                        watcher_read(watcher, buffer);
                        total += watcher->events - before;
                }
        }
        begin = clock_monotonic_us(clock_system()) - begin;
        for (unsigned i = 0; writes && i < WRITERS; i++)
                pthread_join(writers[i], NULL);
        return (double)total * 1e6 / (double)begin;
}

struct dialer {
        const struct bench *bench;
        struct watcher *watchers;
        unsigned first, n; /* every DIALERS-th of them */
};

static void *run_dialer(void *userdata)
{
        const struct dialer *dialer = userdata;

        for (unsigned i = dialer->first; i < dialer->n; i += DIALERS)
                watcher_begin(dialer->bench, &dialer->watchers[i]);
        return NULL;
}

static int run_read(struct bench *bench, unsigned n)
{
        g_autofree struct watcher *watchers = g_new0(struct watcher, n);
        struct dialer dialers[DIALERS];
        pthread_t threads[DIALERS];

        bench->tls = SSL_CTX_new(TLS_client_method());
        for (unsigned i = 0; i < DIALERS; i++) {
                dialers[i] = (struct dialer){.bench = bench, .watchers = watchers, .first = i, .n = n};
                must(pthread_create(&threads[i], NULL, run_dialer, &dialers[i]) == 0, "thread");
        }
        for (unsigned i = 0; i < DIALERS; i++)
                pthread_join(threads[i], NULL);
        printf("%.0f\n", run_clients(bench, watchers, n));
        return 0;
}

static int run_patch(struct bench *bench)
{
        pthread_t patchers[PATCHERS];
        uint64_t begin;

        bench->tls = SSL_CTX_new(TLS_client_method());
        begin = clock_monotonic_us(clock_system());
        for (unsigned i = 0; i < PATCHERS; i++)
                must(pthread_create(&patchers[i], NULL, run_writer, bench) == 0, "thread");
        for (unsigned i = 0; i < PATCHERS; i++)
                pthread_join(patchers[i], NULL);
        printf("%.0f\n", (double)bench->events * 1e6 / (double)(clock_monotonic_us(clock_system()) - begin));
        return 0;
}

/* --- the peer
 * --------------------------------------------------------------------------------------------------------------------------- */

static SSL_CTX *make_server_tls(void)
{
        SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = X509_new();

        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        X509_set_pubkey(certificate, key);
        must(X509_sign(certificate, key, EVP_sha256()) > 0, "sign");
        must(SSL_CTX_use_certificate(tls, certificate) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1, "certificate");
        SSL_CTX_set_num_tickets(tls, 0);
        X509_free(certificate);
        EVP_PKEY_free(key);
        return tls;
}

static int run_serve(unsigned n, unsigned n_events, unsigned bytes)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_autofree char *event = g_strnfill(bytes, 'x');
        g_autofree SSL **clients = g_new0(SSL *, n);
        SSL_CTX *tls = make_server_tls();
        char request[4096];
        const int one = 1;

        event[bytes - 2] = '}';
        event[bytes - 1] = '\n';
        must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 1024) == 0, "listen");
        must(getsockname(listener, (struct sockaddr *)&address, &len) == 0, "port");
        printf("%u\n", ntohs(address.sin_port));
        (void)fflush(stdout);
        for (unsigned i = 0; i < n; i++) {
                int fd = accept(listener, NULL, NULL);

                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                clients[i] = SSL_new(tls);
                SSL_set_fd(clients[i], fd);
                must(SSL_accept(clients[i]) == 1 && SSL_read(clients[i], request, sizeof(request)) > 0, "accept");
                send_text(clients[i], "HTTP/1.1 200 OK\r\n\r\n");
        }
        for (unsigned i = 0; i < n_events; i++)
                for (unsigned j = 0; j < n; j++)
                        must(SSL_write(clients[j], event, (int)bytes) > 0, "write");
        for (unsigned i = 0; i < n; i++)
                (void)SSL_read(clients[i], request, sizeof(request));
        return 0;
}

int main(int argc, char **argv)
{
        signal(SIGPIPE, SIG_IGN);
        if (argc == 7 && strcmp(argv[1], "read") == 0)
                return run_read(&(struct bench){.port = (unsigned)strtoul(argv[2], NULL, 10),
                                                .token = argv[3],
                                                .path = argv[4],
                                                .events = (unsigned)strtoul(argv[6], NULL, 10)},
                                (unsigned)strtoul(argv[5], NULL, 10));
        if (argc == 5 && strcmp(argv[1], "serve") == 0)
                return run_serve((unsigned)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10),
                                 (unsigned)strtoul(argv[4], NULL, 10));
        if (argc == 7 && strcmp(argv[1], "patch") == 0)
                return run_patch(&(struct bench){.port = (unsigned)strtoul(argv[2], NULL, 10),
                                                 .token = argv[3],
                                                 .path = argv[4],
                                                 .objects = (unsigned)strtoul(argv[5], NULL, 10),
                                                 .events = (unsigned)strtoul(argv[6], NULL, 10)});
        (void)fprintf(stderr, "usage: watchers read PORT TOKEN PATH WATCHERS EVENTS | watchers serve WATCHERS EVENTS BYTES | "
                              "watchers patch PORT TOKEN PATH OBJECTS EVENTS\n");
        return 2;
}
