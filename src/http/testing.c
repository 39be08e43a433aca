/* SPDX-License-Identifier: Apache-2.0 */
#include "http/testing.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>

static void certificate_extend(X509 *x509, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;

        X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        g_assert_nonnull(extension);
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
}

static char *bio_text(BIO *bio)
{
        char *data;
        long len = BIO_get_mem_data(bio, &data);
        char *text = g_strndup(data, len);
        BIO_free(bio);
        return text;
}

struct testing_certificate testing_certificate(const struct testing_certificate *issuer, const char *name, const char *organization)
{
        static long serial = 0xabc0;
        struct testing_certificate certificate = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
        X509 *x509 = certificate.x509;

        X509_set_version(x509, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
        X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
        X509_set_pubkey(x509, certificate.key);
        X509_NAME *subject = X509_get_subject_name(x509);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
        if (organization)
                X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)organization, -1, -1, 0);
        X509_set_issuer_name(x509, issuer ? X509_get_subject_name(issuer->x509) : subject);
        certificate_extend(x509, issuer ? issuer->x509 : x509, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
        if (issuer)
                certificate_extend(x509, issuer->x509, NID_subject_alt_name, "IP:127.0.0.1,IP:::1,DNS:localhost");
        else
                certificate_extend(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign");
        X509_sign(x509, issuer ? issuer->key : certificate.key, EVP_sha256());
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, x509);
        certificate.certificate_pem = bio_text(bio);
        bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(bio, certificate.key, NULL, NULL, 0, NULL, NULL);
        certificate.key_pem = bio_text(bio);
        return certificate;
}

void testing_certificate_clear(struct testing_certificate *certificate)
{
        g_free(certificate->certificate_pem);
        g_free(certificate->key_pem);
        X509_free(certificate->x509);
        EVP_PKEY_free(certificate->key);
        *certificate = (struct testing_certificate){0};
}

char *testing_sha256(const struct testing_certificate *certificate)
{
        unsigned char digest[32];
        unsigned len = sizeof(digest);

        g_assert_cmpint(X509_digest(certificate->x509, EVP_sha256(), digest, &len), ==, 1);
        GString *hex = g_string_new(NULL);
        for (unsigned i = 0; i < len; i++)
                g_string_append_printf(hex, "%02x", digest[i]);
        return g_string_free(hex, FALSE);
}

static void app_on_gone(struct http_request *request, void *userdata)
{
        struct testing_app *app = userdata;

        app->gones++;
        if (app->last == request)
                app->last = NULL;
        g_string_append(app->trace, "gone ");
}

static void app_echo(struct http_request *request, const char *body, size_t len, void *userdata)
{
        http_reply(request, 200, "text/plain", body, len);
}

static void app_on_piece(struct http_request *request, const char *piece, size_t len, void *userdata)
{
        struct testing_app *app = userdata;

        g_string_append_len(app->upload, piece, len);
        if (app->pause_upload)
                http_request_body_pause(request, true);
}

static void app_on_end(struct http_request *request, void *userdata)
{
        struct testing_app *app = userdata;
        char text[40];

        g_snprintf(text, sizeof(text), "%zu bytes", app->upload->len);
        http_reply(request, 201, "text/plain", text, strlen(text));
}

static void app_show(struct http_request *request)
{
        g_autoptr(GString) text = g_string_new(NULL);
        const char *a = http_request_query(request, "a"), *b = http_request_query(request, "b");
        const char *x = http_request_header(request, "x-test");

        g_string_printf(text, "%s %s a=%s b=%s x=%s", http_request_method(request), http_request_path(request), a ? a : "-",
                        b ? b : "-", x ? x : "-");
        http_reply(request, 200, "text/plain", text->str, text->len);
}

static void app_identity(struct http_request *request)
{
        const char *cn = http_request_peer_cn(request), *serial = http_request_peer_serial(request);
        const char *const *organizations = http_request_peer_organizations(request);
        const char *pem = http_request_peer_certificate(request);
        g_autofree char *text = g_strdup_printf("cn=%s o=%s serial=%s pem=%d", cn ? cn : "-",
                                                organizations && organizations[0] ? organizations[0] : "-", serial ? serial : "-",
                                                pem ? g_str_has_prefix(pem, "-----BEGIN CERTIFICATE-----") : 0);
        http_reply(request, 200, "text/plain", text, strlen(text));
}

static void app_ws_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        http_ws_send(ws, binary, data, len);
}

static void app_ws_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct testing_app *app = userdata;

        g_string_append_printf(app->trace, "close-%u ", code);
        app->ws = NULL;
}

static void app_upgrade(struct testing_app *app, struct http_request *request)
{
        static const struct http_ws_handlers handlers = {.on_message = app_ws_message, .on_close = app_ws_close};

        if (http_request_upgrade(request, http_request_query(request, "protocol"), &handlers, app, &app->ws) < 0)
                http_reply(request, 400, "text/plain", "no handshake", 12);
}

static void app_on_request(struct http_request *request, void *userdata)
{
        struct testing_app *app = userdata;
        const char *path = http_request_path(request);

        app->requests++;
        http_request_set_userdata(request, app);
        http_request_on_gone(request, app_on_gone);
        g_string_append(app->trace, "request ");
        if (g_str_equal(path, "/hello")) {
                http_reply(request, 200, "text/plain", "hello", 5);
        } else if (g_str_equal(path, "/echo")) {
                http_request_body_whole(request, 100000, app_echo, NULL);
        } else if (g_str_equal(path, "/upload")) {
                app->last = request;
                http_request_body_streaming(request, app_on_piece, app_on_end);
        } else if (g_str_has_prefix(path, "/show")) {
                app_show(request);
        } else if (g_str_equal(path, "/identity")) {
                app_identity(request);
        } else if (g_str_equal(path, "/file")) {
                http_reply_file(request, "application/octet-stream", fcntl(app->file, F_DUPFD_CLOEXEC, 3));
        } else if (g_str_equal(path, "/peer")) {
                http_reply(request, 200, "text/plain", http_request_peer(request), strlen(http_request_peer(request)));
        } else if (g_str_equal(path, "/redirect")) {
                http_reply_header(request, "Location", http_request_query(request, "to"));
                http_reply(request, 302, NULL, NULL, 0);
        } else if (g_str_equal(path, "/nothing")) {
                http_reply(request, 204, NULL, NULL, 0);
        } else if (g_str_equal(path, "/stream")) {
                app->last = request;
                http_reply_stream(request, 200, "application/json");
        } else if (g_str_equal(path, "/ws")) {
                app_upgrade(app, request);
        } else if (g_str_equal(path, "/known")) {
                bool taken = http_request_vouch(request, http_request_query(request, "name") ?: "somebody") == 0;
                http_reply(request, taken ? 200 : 429, "text/plain", "known", taken ? 5 : 0);
        } else if (g_str_equal(path, "/held")) {
                app->last = request;
        } else {
                http_reply(request, 404, "text/plain", "no", 2);
        }
}

static struct testing_app *app_new(bool tls, const struct http_limits *limits, const struct http_disk *disk)
{
        struct testing_app *app = g_new0(struct testing_app, 1);

        app->file = -1;
        app->trace = g_string_new(NULL);
        app->upload = g_string_new(NULL);
        g_assert_cmpint(loop_new(&app->loop), ==, 0);
        if (tls) {
                app->ca = testing_certificate(NULL, "test CA", NULL);
                app->server_certificate = testing_certificate(&app->ca, "server", NULL);
                const struct http_tls_options tls_options = {.server = true,
                                                             .certificate_pem = app->server_certificate.certificate_pem,
                                                             .key_pem = app->server_certificate.key_pem,
                                                             .ca_pem = app->ca.certificate_pem};
                g_assert_cmpint(http_tls_new(&tls_options, &app->tls), ==, 0);
        }
        const struct http_server_options options = {
                .loop = app->loop, .tls = app->tls, .on_request = app_on_request, .userdata = app, .limits = limits, .disk = disk};
        g_assert_cmpint(http_server_new(&options, &app->server), ==, 0);
        g_assert_cmpint(http_server_listen(app->server, "127.0.0.1:0", &app->port), ==, 0);
        return app;
}

struct testing_app *testing_app_new(bool tls, const struct http_limits *limits)
{
        return app_new(tls, limits, NULL);
}

struct testing_app *testing_app_new_on(const struct http_disk *disk)
{
        return app_new(false, NULL, disk);
}

void testing_app_free(struct testing_app *app)
{
        http_server_free(app->server);
        g_assert_cmpint(app->requests, ==, app->gones);
        http_tls_free(app->tls);
        if (app->tls) {
                testing_certificate_clear(&app->ca);
                testing_certificate_clear(&app->server_certificate);
        }
        if (app->file >= 0)
                close(app->file);
        loop_free(app->loop);
        g_string_free(app->trace, TRUE);
        g_string_free(app->upload, TRUE);
        g_free(app);
}

char *testing_url(const struct testing_app *app, const char *path)
{
        return g_strdup_printf("%s://127.0.0.1:%u%s", app->tls ? "https" : "http", app->port, path);
}

struct http_tls *testing_client_tls(const struct testing_app *app, const struct testing_certificate *certificate)
{
        struct http_tls *tls;
        const struct http_tls_options options = {.certificate_pem = certificate ? certificate->certificate_pem : NULL,
                                                 .key_pem = certificate ? certificate->key_pem : NULL,
                                                 .ca_pem = app->ca.certificate_pem};

        g_assert_cmpint(http_tls_new(&options, &tls), ==, 0);
        return tls;
}

static void client_watch(struct testing_client *client)
{
        bool write = client->output.head || client->transport.tls_wants_write;

        if (client->ended)
                http_transport_detach(&client->transport);
        else
                http_transport_watch(&client->transport, (client->deaf ? 0 : LOOP_READ) | (write ? LOOP_WRITE : 0));
}

static void client_turn(struct testing_client *client)
{
        char scratch[HTTP_OUTPUT_SCRATCH_BYTES];
        uint64_t written = 0;
        ssize_t n = -EAGAIN;

        int r = http_transport_handshake(&client->transport);
        if (r == 0) {
                r = http_output_flush(&client->output, &client->transport, scratch, &written);
                while (!client->deaf && (n = http_transport_read(&client->transport, scratch, sizeof(scratch))) > 0)
                        g_string_append_len(client->in, scratch, n);
        }
        client->ended = n == 0 || (n < 0 && n != -EAGAIN) || (r < 0 && r != -EAGAIN && n != -EAGAIN);
        if (r < 0 && r != -EAGAIN && client->transport.handshaking)
                client->ended = true;
}

static void client_on_event(struct loop_source *source, int fd, unsigned events, void *userdata)
{
        struct testing_client *client = userdata;

        client_turn(client);
        if (events & LOOP_ERROR)
                client->ended = true;
        client_watch(client);
}

struct testing_client *testing_client_new(struct testing_app *app, struct http_tls *tls)
{
        struct testing_client *client = g_new0(struct testing_client, 1);
        const struct sockaddr_in address = {
                .sin_family = AF_INET, .sin_port = htons(app->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        client->loop = app->loop;
        client->in = g_string_new(NULL);
        http_output_init(&client->output);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(connect(fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
        g_assert_cmpint(fcntl(fd, F_SETFL, O_NONBLOCK), ==, 0);
        g_assert_cmpint(http_transport_init(&client->transport, fd, tls, "127.0.0.1"), ==, 0);
        g_assert_cmpint(http_transport_attach(&client->transport, app->loop, client_on_event, client), ==, 0);
        client_turn(client);
        client_watch(client);
        return client;
}

void testing_client_free(struct testing_client *client)
{
        http_transport_clear(&client->transport);
        http_output_clear(&client->output);
        g_string_free(client->in, TRUE);
        g_free(client);
}

void testing_send(struct testing_client *client, const void *data, size_t len)
{
        http_output_copy(&client->output, data, len);
        if (!client->ended) {
                client_turn(client);
                client_watch(client);
        }
}

void testing_send_text(struct testing_client *client, const char *text)
{
        testing_send(client, text, strlen(text));
}

void testing_deafen(struct testing_client *client, bool deaf)
{
        client->deaf = deaf;
        if (!client->ended)
                client_watch(client);
}

bool testing_await(struct testing_client *client, const char *text)
{
        testing_until(client->loop, client->ended || memmem(client->in->str, client->in->len, text, strlen(text)));
        char *found = memmem(client->in->str, client->in->len, text, strlen(text));
        if (!found)
                return false;
        g_string_erase(client->in, 0, found + strlen(text) - client->in->str);
        return true;
}

void testing_await_end(struct testing_client *client)
{
        testing_until(client->loop, client->ended);
}

char *testing_ask(struct testing_app *app, struct http_tls *tls, const char *request, size_t len)
{
        struct testing_client *client = testing_client_new(app, tls);

        testing_send(client, request, len);
        testing_await_end(client);
        char *answer = g_strdup(client->in->str);
        testing_client_free(client);
        return answer;
}

const char *testing_body(const char *answer)
{
        const char *body = strstr(answer, "\r\n\r\n");

        return body ? body + 4 : "";
}

struct http_server_stats testing_stats(const struct testing_app *app)
{
        struct http_server_stats stats;

        http_server_stats(app->server, &stats);
        return stats;
}
