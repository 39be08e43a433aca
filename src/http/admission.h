/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

/*
 * Who may be connected, and to whom connections and memory are charged.
 *
 * A connection begins as a *stranger*: nobody has vouched for a request of it yet. Strangers have a budget of their own; when it is
 * used up a new one pushes out another. Which one: of those that have sent nothing and those that have sent something the more
 * numerous, therein of the address that has most of them, the oldest. So a flood pushes out itself: silent connections, however
 * fast they come, do not touch one whose client speaks, and before clients that speak can push out another each has to speak a
 * handshake first. A connection that was vouched for is
 * charged to its *principal* (a user, a node), with the memory of the bodies it sends and of the answers it does not read.
 */
struct http_server;
struct http_connection;
struct http_limits;

enum http_stranger { STRANGER_SILENT, STRANGER_SPEAKING, N_STRANGERS };

/* Connections of one address: of IPv4, or the first half of one of IPv6. */
struct http_peer_account {
        uint8_t key[16];
        size_t connections;
        GQueue strangers[N_STRANGERS]; /* oldest first */
};

struct http_principal {
        char *name;
        size_t connections, bytes;
};

struct http_admission {
        GHashTable *peers;      /* struct http_peer_account */
        GHashTable *principals; /* struct http_principal */
        size_t n_strangers[N_STRANGERS], bytes;
};

void http_admission_init(struct http_admission *admission);
void http_admission_clear(struct http_admission *admission);
/** http_admission_open() - make room for one more connection from @peer, at the cost of a stranger if need be. false: there is
 * none.
 */
bool http_admission_open(struct http_server *server, const struct sockaddr_storage *peer);
/** http_admission_enter() - count @connection, as a stranger. */
void http_admission_enter(struct http_server *server, struct http_connection *connection);
/** http_admission_heard() - @connection has sent something. */
void http_admission_heard(struct http_server *server, struct http_connection *connection);
/** http_admission_strangers() - how many there are. */
size_t http_admission_strangers(const struct http_admission *admission);
/** http_admission_leave() - it closes: take it out of all accounts. */
void http_admission_leave(struct http_server *server, struct http_connection *connection);
/** http_admission_vouch() - charge @connection to @name from now on. 0, or -EUSERS (it stays what it was) or -ENOBUFS as
 * http_request_vouch() says. */
int http_admission_vouch(struct http_server *server, struct http_connection *connection, const char *name);
/** http_admission_charge() - account for what @connection keeps in memory now. */
void http_admission_charge(struct http_server *server, struct http_connection *connection);
/** http_admission_is_over() - whether the principal of @connection keeps more than its share. */
bool http_admission_is_over(const struct http_server *server, const struct http_connection *connection);
