/* SPDX-License-Identifier: Apache-2.0 */
#include "http/exchange.h"

#include "base/error.h"
#include "base/limits.h"
#include "http/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL_CONNECT_TIME_MS 10000L
#define CALL_KEEPALIVE_S     30L
#define CALL_ANSWER_HEADERS  200
#define CALL_PIECE_BYTES     65536L

void http_client_settings_copy(struct http_client_settings *settings, const struct http_client_options *options)
{
        assert(settings && options);

        *settings = (struct http_client_settings){
                .ca_pem = g_strdup(options->ca_pem),
                .ca_sha256 = g_strdup(options->ca_sha256),
                .certificate_pem = g_strdup(options->certificate_pem),
                .key_pem = g_strdup(options->key_pem),
                .user_agent = g_strdup(options->user_agent),
                .insecure = options->insecure,
                .allow_address = options->allow_address,
                .userdata = options->userdata,
        };
}

void http_client_settings_clear(struct http_client_settings *settings)
{
        assert(settings);

        g_free(settings->ca_pem);
        g_free(settings->ca_sha256);
        g_free(settings->certificate_pem);
        if (settings->key_pem)
                OPENSSL_cleanse(settings->key_pem, strlen(settings->key_pem));
        g_free(settings->key_pem);
        g_free(settings->user_agent);
        *settings = (struct http_client_settings){0};
}

static void call_global_init(void)
{
        signal(SIGPIPE, SIG_IGN);
        curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t call_on_write(char *data, size_t size, size_t n, void *userdata)
{
        struct http_call *call = userdata;
        size_t len = size * n;

        if (call->cancelled)
                return 0;
        if (call->on_piece) {
                call->aborted = !call->on_piece(call, data, len, call->userdata);
                return call->aborted || call->cancelled ? 0 : len;
        }
        if (len > call->max_body_bytes - call->body->len) {
                call->too_large = true;
                return 0;
        }
        g_string_append_len(call->body, data, len);
        return len;
}

static size_t call_on_read(char *buffer, size_t size, size_t n, void *userdata)
{
        struct http_call *call = userdata;
        size_t len = MIN(size * n, call->body_len - call->body_at);

        if (call->cancelled)
                return CURL_READFUNC_ABORT;
        if (len == 0)
                return 0;
        ssize_t got = pread(call->body_fd, buffer, len, call->body_start + call->body_at);
        if (got <= 0)
                return CURL_READFUNC_ABORT;
        call->body_at += got;
        return got;
}

/* A redirect or a lost keep-alive connection makes libcurl read the body again. */
static int call_on_seek(void *userdata, curl_off_t offset, int origin)
{
        struct http_call *call = userdata;

        if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->body_len)
                return CURL_SEEKFUNC_CANTSEEK;
        call->body_at = offset;
        return CURL_SEEKFUNC_OK;
}

static size_t call_on_header(char *line, size_t size, size_t n, void *userdata)
{
        struct http_call *call = userdata;
        size_t len = size * n;
        const char *colon = memchr(line, ':', len);

        call->header_bytes += len;
        call->headers_too_large = call->header_bytes > LIMIT_HTTP_ANSWER_HEADER_BYTES;
        if (call->headers_too_large)
                return 0;
        if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
                g_ptr_array_set_size(call->headers, 0);
        else if (colon && call->headers->len < 2 * CALL_ANSWER_HEADERS) {
                g_ptr_array_add(call->headers, g_strndup(line, colon - line));
                g_ptr_array_add(call->headers, g_strstrip(g_strndup(colon + 1, line + len - colon - 1)));
        }
        return len;
}

static int call_on_progress(void *userdata, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
        struct http_call *call = userdata;

        if (call->go_on && !call->go_on(call, call->userdata)) {
                call->aborted = true;
                return 1;
        }
        if (call->on_sent && (uint64_t)up != call->sent) {
                call->sent = up;
                call->on_sent(call, up, call->userdata);
        }
        return call->cancelled;
}

static curl_socket_t call_on_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
        struct http_call *call = userdata;
        char ip[INET6_ADDRSTRLEN] = "";

        if (address->family == AF_INET)
                inet_ntop(AF_INET, &((struct sockaddr_in *)&address->addr)->sin_addr, ip, sizeof(ip));
        else if (address->family == AF_INET6)
                inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address->addr)->sin6_addr, ip, sizeof(ip));
        if (call->settings->allow_address && !(ip[0] && call->settings->allow_address(ip, call->settings->userdata))) {
                g_strlcpy(call->refused_address, ip[0] ? ip : "?", sizeof(call->refused_address));
                return CURL_SOCKET_BAD;
        }
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before each request, redirects' too, on a connection that may have been there already. */
static int call_on_request(void *userdata, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
        struct http_call *call = userdata;
        const char *url = NULL;

        if (call->settings->allow_address && !call->settings->allow_address(peer_ip, call->settings->userdata)) {
                g_strlcpy(call->refused_address, peer_ip, sizeof(call->refused_address));
                return CURL_PREREQFUNC_ABORT;
        }
        curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
        bool https = url && g_ascii_strncasecmp(url, "https:", 6) == 0;
        call->downgraded = call->was_https && !https;
        call->was_https |= https;
        return call->downgraded ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int call_on_verify(X509_STORE_CTX *store, void *userdata)
{
        struct http_call *call = userdata;
        bool pinned = !call->settings->ca_pem && call->settings->ca_sha256;

        int ok = http_tls_verify(store, pinned ? call->pin : NULL);
        call->verdict = ok ? X509_V_OK : X509_STORE_CTX_get_error(store);
        return ok;
}

static CURLcode call_on_tls(CURL *easy, void *ctx, void *userdata)
{
        SSL_CTX_set_cert_verify_callback(ctx, call_on_verify, userdata);
        return CURLE_OK;
}

static void call_set_blob(CURL *easy, CURLoption option, const char *pem)
{
        struct curl_blob blob = {.data = (void *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

        curl_easy_setopt(easy, option, &blob);
}

static void call_set_tls(struct http_call *call)
{
        const struct http_client_settings *settings = call->settings;
        CURL *easy = call->easy;

        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        if (settings->certificate_pem && settings->key_pem) {
                call_set_blob(easy, CURLOPT_SSLCERT_BLOB, settings->certificate_pem);
                call_set_blob(easy, CURLOPT_SSLKEY_BLOB, settings->key_pem);
        }
        if (settings->insecure) {
                curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
                curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
        } else {
                curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, call_on_tls);
                curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, call);
        }
        if (settings->ca_pem || settings->ca_sha256) {
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
                curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        }
        if (settings->ca_pem)
                call_set_blob(easy, CURLOPT_CAINFO_BLOB, settings->ca_pem);
}

static void call_set_limits(struct http_call *call, const struct http_call_options *options)
{
        CURL *easy = call->easy;
        bool https = g_ascii_strncasecmp(options->url, "https:", 6) == 0;

        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, options->max_redirects > 0 ? 1L : 0L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)options->max_redirects);
        curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CALL_CONNECT_TIME_MS);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)((options->timeout_us + 999) / 1000));
        if (options->stall_timeout_us) {
                curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)(options->stall_rate ? options->stall_rate : 1));
                curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((options->stall_timeout_us + 999999) / 1000000));
        }
}

static void call_set_method(struct http_call *call, const struct http_call_options *options)
{
        const char *method = options->method ? options->method : "GET";
        CURL *easy = call->easy;

        if (options->body_fd_set) {
                curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
                curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)options->body_len);
        } else if (options->body) {
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->request_body);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body_len);
        } else if (strcmp(method, "HEAD") == 0) {
                curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
                return;
        } else if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        } else {
                curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        }
        bool implied = options->body_fd_set         ? strcmp(method, "PUT") == 0
                       : strcmp(method, "GET") == 0 ? !options->body
                                                    : strcmp(method, "POST") == 0;
        if (!implied)
                curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static int call_set_headers(struct http_call *call, const struct http_call_options *options)
{
        bool typed = false;

        for (const char *const *header = options->headers; header && *header; header++) {
                if (strpbrk(*header, "\r\n"))
                        return -EINVAL;
                typed |= g_ascii_strncasecmp(*header, "Content-Type:", 13) == 0;
                call->request_headers = curl_slist_append(call->request_headers, *header);
        }
        if (!typed)
                call->request_headers = curl_slist_append(call->request_headers, "Content-Type:");
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->request_headers);
        return 0;
}

static void call_set_callbacks(struct http_call *call)
{
        CURL *easy = call->easy;

        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, call_on_write);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, call_on_read);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, call_on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, call_on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
        if (call->on_sent || call->go_on) {
                curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, call_on_progress);
                curl_easy_setopt(easy, CURLOPT_XFERINFODATA, call);
                curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        }
        if (call->on_piece)
                curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CALL_PIECE_BYTES);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, call_on_socket);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, call_on_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

static void call_set_transport(struct http_call *call, const struct http_call_options *options)
{
        CURL *easy = call->easy;

        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, CALL_KEEPALIVE_S);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, CALL_KEEPALIVE_S);
        curl_easy_setopt(easy, CURLOPT_USERAGENT,
                         call->settings->user_agent ? call->settings->user_agent : "gabbro/" GABBRO_VERSION);
        curl_easy_setopt(easy, CURLOPT_URL, options->url);
        curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* an object named ".." is not its collection's parent */
}

int http_call_new(const struct http_client_settings *settings, const struct http_call_options *options, void *userdata,
                  struct http_call **ret_call)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        assert(settings && options && options->url && ret_call);
        assert(!options->body || !options->body_fd_set);
        pthread_once(&once, call_global_init);
        struct http_call *call = g_new0(struct http_call, 1);
        call->easy = curl_easy_init();
        if (!call->easy) {
                g_free(call);
                return -ENOMEM;
        }
        call->settings = settings;
        call->request_body = options->body ? g_memdup2(options->body, options->body_len + (options->body_len == 0)) : NULL;
        call->body_fd = options->body_fd_set ? options->body_fd : -1;
        call->body_len = options->body_fd_set ? options->body_len : 0;
        call->body_start = options->body_fd_set ? lseek(options->body_fd, 0, SEEK_CUR) : 0;
        call->body = g_string_new(NULL);
        call->max_body_bytes = options->max_body_bytes ? options->max_body_bytes : LIMIT_JSON_BYTES;
        call->on_piece = options->on_piece;
        call->on_sent = options->on_sent;
        call->go_on = options->go_on;
        call->userdata = userdata;
        call->headers = g_ptr_array_new_with_free_func(g_free);
        call_set_transport(call, options);
        call_set_limits(call, options);
        call_set_tls(call);
        call_set_method(call, options);
        call_set_callbacks(call);
        bool pin_is_bad = settings->ca_sha256 && http_tls_parse_pin(settings->ca_sha256, call->pin) < 0;
        if (pin_is_bad || call_set_headers(call, options) < 0 || call->body_start < 0) {
                http_call_free(call);
                return -EINVAL;
        }
        *ret_call = call;
        return 0;
}

struct http_call *http_call_free(struct http_call *call)
{
        if (!call)
                return NULL;
        curl_easy_cleanup(call->easy);
        curl_slist_free_all(call->request_headers);
        if (call->body)
                g_string_free(call->body, TRUE);
        g_ptr_array_unref(call->headers);
        g_free(call->request_body);
        g_free(call);
        return NULL;
}

static int call_errno(const struct http_call *call, CURLcode code)
{
        if (call->too_large || call->headers_too_large || code == CURLE_OUT_OF_MEMORY)
                return -EMSGSIZE;
        if (call->aborted)
                return -ECANCELED;
        if (call->verdict != X509_V_OK)
                return -EKEYREJECTED;
        if (call->downgraded)
                return -EINVAL;
        switch (code) {
        case CURLE_ABORTED_BY_CALLBACK:
                return call->refused_address[0] ? -EACCES : -EIO;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_COULDNT_RESOLVE_HOST:
                return -EHOSTUNREACH;
        case CURLE_COULDNT_CONNECT:
                return call->refused_address[0] ? -EACCES : -ECONNREFUSED;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
                return -EKEYREJECTED;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
        case CURLE_LOGIN_DENIED:
                return -EINVAL;
        case CURLE_TOO_MANY_REDIRECTS:
                return -ELOOP;
        default:
                return -EIO;
        }
}

int http_call_result(struct http_call *call, CURLcode code, const char **ret_words)
{
        assert(call && ret_words);

        if (code == CURLE_OK)
                return 0;
        if (call->too_large)
                g_snprintf(call->error, sizeof(call->error), "the answer is larger than %zu bytes", call->max_body_bytes);
        else if (call->headers_too_large || code == CURLE_OUT_OF_MEMORY) /* libcurl's word for a line beyond its own bounds */
                g_strlcpy(call->error, "the headers of the answer are too large", sizeof(call->error));
        else if (call->aborted)
                g_strlcpy(call->error, "given up by the receiver", sizeof(call->error));
        else if (call->downgraded)
                g_strlcpy(call->error, "a redirect leads from https to http", sizeof(call->error));
        else if (code == CURLE_LOGIN_DENIED)
                g_strlcpy(call->error, "a user name in an address is not taken", sizeof(call->error));
        else if (call->refused_address[0] && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
                g_snprintf(call->error, sizeof(call->error), "connections to %s are not allowed", call->refused_address);
        else if (call->verdict != X509_V_OK)
                g_snprintf(call->error, sizeof(call->error), "the peer's certificate: %s",
                           X509_verify_cert_error_string(call->verdict));
        else if (!call->error[0])
                g_strlcpy(call->error, curl_easy_strerror(code), sizeof(call->error));
        *ret_words = call->error;
        return call_errno(call, code);
}

const char *http_call_header(const struct http_call *call, const char *name)
{
        assert(call && name);

        for (guint i = 0; i + 1 < call->headers->len; i += 2) {
                if (g_ascii_strcasecmp(g_ptr_array_index(call->headers, i), name) == 0)
                        return g_ptr_array_index(call->headers, i + 1);
        }
        return NULL;
}

int http_call_status(const struct http_call *call)
{
        assert(call);

        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        return status;
}
