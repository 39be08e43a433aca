/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* For tests: network namespaces that play guests and the outside world around the namespace that plays the host. */

struct place {
        pid_t pid;    /* keeps the namespace */
        pid_t server; /* answers TCP in it, or 0 */
        char tap[16]; /* its end on the host */
};

/** world_enter() - go on as the first process of fresh network, process and mount namespaces, loopback up. false: not allowed here.
 */
bool world_enter(void);

/** world_place() - a namespace joined to the host's by a veth pair: @tap on the host, eth0 with @mac and @cidr in it. */
struct place world_place(const char *tap, const char *mac, const char *cidr, const char *gateway);
void world_place_end(struct place *place);

/** world_run() - ip(8) or another program with these arguments; its exit status. */
int world_run(const char *const *argv);
#define world_ip(...) world_run((const char *const[]){"ip", __VA_ARGS__, NULL})
/** world_run_in() - the same inside a place. */
int world_run_in(const struct place *place, const char *const *argv);
#define world_ip_in(place, ...) world_run_in((place), (const char *const[]){"ip", __VA_ARGS__, NULL})

/** world_listen() - answer every TCP connection on all addresses and these ports with the peer's address; NULL: on the host. The
 *  child's pid. */
pid_t world_listen(const struct place *place, const uint16_t *ports, size_t n);
void world_end(pid_t pid);

/* Probes; @from NULL: from the host. */
/** world_tcp() - connect and read the answer: the address that the server saw, "" when nothing came within @wait_ms. g_free(). */
char *world_tcp(const struct place *from, const char *ip, uint16_t port, unsigned wait_ms);
bool world_ping(const struct place *from, const char *ip, unsigned wait_ms);
/** world_dns() - whether any answer comes from a DNS server. */
bool world_dns(const struct place *from, const char *ip, unsigned wait_ms);
/** world_dhcp() - DISCOVER and REQUEST in the name of @mac; the address that was acknowledged, "" when none. g_free(). */
char *world_dhcp(const struct place *from, const char *mac, unsigned wait_ms);
/** world_frame() - send a raw Ethernet frame (hex text) and report whether a host's or guest's interface saw it. */
bool world_frame(const struct place *from, const char *hex, const struct place *at, const char *interface, unsigned wait_ms);
