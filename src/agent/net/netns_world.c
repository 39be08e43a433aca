/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/netns_world.h"

#include "agent/net/port.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

bool world_enter(void)
{
        int status;
        pid_t pid;

        if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) < 0) {
                return false;
        }
        /* The rest of the program runs as the first process of its namespace, so that nothing outlives it. */
        pid = fork();
        assert(pid >= 0);
        if (pid > 0) {
                while (waitpid(pid, &status, 0) < 0) {
                        assert(errno == EINTR);
                }
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
        assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        assert(mount("proc", "/proc", "proc", 0, NULL) == 0);
        return world_ip("link", "set", "lo", "up") == 0;
}

static void enter_place(const struct place *place)
{
        char path[64];
        int fd;

        if (!place) {
                return;
        }
        g_snprintf(path, sizeof(path), "/proc/%d/ns/net", place->pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
                _exit(111);
        }
        close(fd);
}

/* A child inside the place that ends with this process. */
static pid_t fork_in(const struct place *place)
{
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                enter_place(place);
        }
        return pid;
}

static int wait_status(pid_t pid)
{
        int status;

        while (waitpid(pid, &status, 0) < 0) {
                assert(errno == EINTR);
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int world_run_in(const struct place *place, const char *const *argv)
{
        pid_t pid = fork_in(place);

        if (pid == 0) {
                execvp(argv[0], (char *const *)argv);
                _exit(127);
        }
        return wait_status(pid);
}

int world_run(const char *const *argv)
{
        return world_run_in(NULL, argv);
}

struct place world_place(const char *tap, const char *mac, const char *cidr, const char *gateway)
{
        struct place place = {};
        char pid_text[16], byte;
        int ready[2];

        assert(pipe2(ready, O_CLOEXEC) == 0);
        g_strlcpy(place.tap, tap, sizeof(place.tap));
        place.pid = fork();
        assert(place.pid >= 0);
        if (place.pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "", 1) != 1) {
                        _exit(111);
                }
                for (;;) {
                        pause();
                }
        }
        assert(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        close(ready[1]);
        g_snprintf(pid_text, sizeof(pid_text), "%d", place.pid);
        assert(world_ip("link", "add", tap, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", pid_text) == 0);
        assert(world_ip("link", "set", tap, "up") == 0);
        assert(world_ip_in(&place, "link", "set", "lo", "up") == 0);
        assert(world_ip_in(&place, "link", "set", "eth0", "up") == 0);
        if (cidr) {
                assert(world_ip_in(&place, "addr", "add", cidr, "dev", "eth0") == 0);
        }
        if (gateway) {
                assert(world_ip_in(&place, "route", "add", "default", "via", gateway) == 0);
        }
        return place;
}

void world_end(pid_t pid)
{
        if (pid > 0) {
                kill(pid, SIGKILL);
                wait_status(pid);
        }
}

void world_place_end(struct place *place)
{
        struct pollfd none = {.fd = -1};

        world_end(place->server);
        /* The kernel ends a namespace, and with it the pair, some time after its last process: go ahead of it. */
        world_ip("link", "del", place->tap);
        world_end(place->pid);
        poll(&none, 0, 0);
        *place = (struct place){};
}

/* --- TCP -------------------------------------------------------------------------------------------------------------------------
 */

static int listen_on(uint16_t port)
{
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 || listen(fd, 16) < 0) {
                _exit(112);
        }
        return fd;
}

static void answer_one(int listener)
{
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        int fd = accept(listener, (struct sockaddr *)&peer, &len);
        char text[INET_ADDRSTRLEN];

        if (fd >= 0) {
                inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text));
                if (write(fd, text, strlen(text)) < 0) {
                        /* The prober sees that nothing came. */
                }
                close(fd);
        }
}

pid_t world_listen(const struct place *place, const uint16_t *ports, size_t n)
{
        struct pollfd *fds = g_new0(struct pollfd, n);
        int ready[2];
        char byte;
        pid_t pid;

        assert(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork_in(place);
        if (pid == 0) {
                for (size_t i = 0; i < n; i++) {
                        fds[i] = (struct pollfd){.fd = listen_on(ports[i]), .events = POLLIN};
                }
                if (write(ready[1], "", 1) != 1) {
                        _exit(113);
                }
                while (poll(fds, n, -1) > 0) {
                        for (size_t i = 0; i < n; i++) {
                                if (fds[i].revents) {
                                        answer_one(fds[i].fd);
                                }
                        }
                }
                _exit(114);
        }
        assert(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        close(ready[1]);
        g_free(fds);
        return pid;
}

/* --- probes: run in a child, answer as text through a pipe
 * ------------------------------------------------------------------------ */

static bool wait_for(int fd, short events, unsigned wait_ms)
{
        struct pollfd wait = {.fd = fd, .events = events};

        return poll(&wait, 1, wait_ms) > 0;
}

typedef void (*probe_fn)(int out, const void *argument, unsigned wait_ms);

static char *probe(const struct place *from, probe_fn fn, const void *argument, unsigned wait_ms)
{
        char answer[256] = "";
        int out[2];
        ssize_t n;
        pid_t pid;

        assert(pipe2(out, O_CLOEXEC) == 0);
        pid = fork_in(from);
        if (pid == 0) {
                fn(out[1], argument, wait_ms);
                _exit(0);
        }
        close(out[1]);
        n = read(out[0], answer, sizeof(answer) - 1);
        close(out[0]);
        wait_status(pid);
        return g_strndup(answer, MAX(n, 0));
}

static void say(int out, const char *text, size_t len)
{
        if (write(out, text, len) < 0) {
                _exit(115);
        }
}

static struct sockaddr_in target_of(const char *ip, uint16_t port)
{
        struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};

        assert(inet_pton(AF_INET, ip, &target.sin_addr) == 1);
        return target;
}

static void probe_tcp(int out, const void *argument, unsigned wait_ms)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        char text[64];
        ssize_t n;

        (void)connect(fd, argument, sizeof(struct sockaddr_in));
        if (wait_for(fd, POLLIN, wait_ms) && (n = read(fd, text, sizeof(text))) > 0) {
                say(out, text, n);
        }
}

char *world_tcp(const struct place *from, const char *ip, uint16_t port, unsigned wait_ms)
{
        struct sockaddr_in target = target_of(ip, port);

        return probe(from, probe_tcp, &target, wait_ms);
}

static uint16_t checksum(const void *data, size_t len)
{
        const uint8_t *bytes = data;
        uint32_t sum = 0;

        for (size_t i = 0; i + 1 < len; i += 2) {
                sum += bytes[i] << 8 | bytes[i + 1];
        }
        while (sum >> 16) {
                sum = (sum & 0xffff) + (sum >> 16);
        }
        return htons(~sum);
}

static void probe_ping(int out, const void *argument, unsigned wait_ms)
{
        int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        struct icmphdr echo = {.type = ICMP_ECHO, .un.echo = {.id = htons(getpid() & 0xffff), .sequence = htons(1)}};
        uint8_t answer[256];

        echo.checksum = checksum(&echo, sizeof(echo));
        (void)sendto(fd, &echo, sizeof(echo), 0, argument, sizeof(struct sockaddr_in));
        while (wait_for(fd, POLLIN, wait_ms)) {
                ssize_t n = recv(fd, answer, sizeof(answer), 0);
                const struct icmphdr *header = (const void *)(answer + (answer[0] & 15) * 4);

                if (n >= 28 && header->type == ICMP_ECHOREPLY && header->un.echo.id == echo.un.echo.id) {
                        say(out, "y", 1);
                        return;
                }
        }
}

bool world_ping(const struct place *from, const char *ip, unsigned wait_ms)
{
        struct sockaddr_in target = target_of(ip, 0);
        g_autofree char *answer = probe(from, probe_ping, &target, wait_ms);

        return *answer;
}

static void probe_dns(int out, const void *argument, unsigned wait_ms)
{
        static const uint8_t query[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'x', 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1};
        int fd = socket(AF_INET, SOCK_DGRAM, 0);

        (void)sendto(fd, query, sizeof(query), 0, argument, sizeof(struct sockaddr_in));
        if (wait_for(fd, POLLIN, wait_ms)) {
                say(out, "y", 1);
        }
}

bool world_dns(const struct place *from, const char *ip, unsigned wait_ms)
{
        struct sockaddr_in target = target_of(ip, 53);
        g_autofree char *answer = probe(from, probe_dns, &target, wait_ms);

        return *answer;
}

/* --- DHCP (RFC 2131) -------------------------------------------------------------------------------------------------------------
 */

static size_t dhcp_message(uint8_t *packet, const uint8_t mac[6], uint8_t type, const uint8_t *requested)
{
        static const uint8_t magic[] = {99, 130, 83, 99};
        size_t at = 240;

        memset(packet, 0, 300);
        memcpy(packet, (const uint8_t[]){1, 1, 6, 0, 0x77, 0x66, 0x55, 0x44}, 8);
        packet[10] = 0x80; /* answer by broadcast */
        memcpy(packet + 28, mac, 6);
        memcpy(packet + 236, magic, 4);
        memcpy(packet + at, (const uint8_t[]){53, 1, type}, 3);
        at += 3;
        if (requested) {
                memcpy(packet + at, (const uint8_t[]){50, 4}, 2);
                memcpy(packet + at + 2, requested, 4);
                at += 6;
        }
        packet[at] = 255;
        return 300;
}

/* The type of the answer in @packet, 0 when none came. */
static int dhcp_exchange(int fd, uint8_t *packet, size_t len, unsigned wait_ms)
{
        struct sockaddr_in everybody = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = INADDR_BROADCAST};
        uint8_t asked[8];
        ssize_t n;

        memcpy(asked, packet, sizeof(asked));
        (void)sendto(fd, packet, len, 0, (struct sockaddr *)&everybody, sizeof(everybody));
        while (wait_for(fd, POLLIN, wait_ms)) {
                n = recv(fd, packet, 1024, 0);
                if (n > 242 && packet[0] == 2 && memcmp(packet + 4, asked + 4, 4) == 0 && packet[240] == 53) {
                        return packet[242];
                }
        }
        return 0;
}

static void probe_dhcp(int out, const void *argument, unsigned wait_ms)
{
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(68)};
        int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
        char text[INET_ADDRSTRLEN];
        uint8_t packet[1024], offered[4];

        setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5);
        if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
                _exit(116);
        }
        if (dhcp_exchange(fd, packet, dhcp_message(packet, argument, 1, NULL), wait_ms) != 2) {
                return;
        }
        memcpy(offered, packet + 16, 4);
        if (dhcp_exchange(fd, packet, dhcp_message(packet, argument, 3, offered), wait_ms) == 5) {
                inet_ntop(AF_INET, packet + 16, text, sizeof(text));
                say(out, text, strlen(text));
        }
}

char *world_dhcp(const struct place *from, const char *mac, unsigned wait_ms)
{
        uint8_t bytes[6];

        assert(net_mac_parse(mac, bytes) == 0);
        return probe(from, probe_dhcp, bytes, wait_ms);
}

/* --- raw frames ------------------------------------------------------------------------------------------------------------------
 */

static size_t hex_bytes(const char *hex, uint8_t *bytes, size_t max)
{
        size_t n = 0;

        for (; *hex && n < max; hex++) {
                if (*hex != ' ') {
                        assert(g_ascii_isxdigit(hex[0]) && g_ascii_isxdigit(hex[1]));
                        bytes[n++] = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);
                        hex++;
                }
        }
        return n;
}

static int packet_socket(const char *interface)
{
        struct sockaddr_ll local = {
                .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(interface)};
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

        if (fd < 0 || !local.sll_ifindex || bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
                _exit(117);
        }
        return fd;
}

struct sighting {
        int ready;
        const uint8_t *frame;
        size_t len;
        const char *interface;
};

static void probe_sight(int out, const void *argument, unsigned wait_ms)
{
        const struct sighting *sighting = argument;
        int fd = packet_socket(sighting->interface);
        uint8_t seen[2048];

        say(sighting->ready, "", 1);
        while (wait_for(fd, POLLIN, wait_ms)) {
                ssize_t n = recv(fd, seen, sizeof(seen), 0);

                if (n >= (ssize_t)sighting->len && memcmp(seen + 14, sighting->frame + 14, sighting->len - 14) == 0) {
                        say(out, "y", 1);
                        return;
                }
        }
}

bool world_frame(const struct place *from, const char *hex, const struct place *at, const char *interface, unsigned wait_ms)
{
        uint8_t frame[2048];
        size_t len = hex_bytes(hex, frame, sizeof(frame));
        struct sighting sighting = {.frame = frame, .len = len, .interface = interface};
        char answer[4] = "", byte;
        int ready[2], out[2];
        pid_t watcher, sender;

        assert(pipe2(ready, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
        sighting.ready = ready[1];
        watcher = fork_in(at);
        if (watcher == 0) {
                probe_sight(out[1], &sighting, wait_ms);
                _exit(0);
        }
        close(out[1]);
        assert(read(ready[0], &byte, 1) == 1);
        sender = fork_in(from);
        if (sender == 0) {
                _exit(send(packet_socket("eth0"), frame, len, 0) == (ssize_t)len ? 0 : 118);
        }
        assert(wait_status(sender) == 0);
        if (read(out[0], answer, sizeof(answer)) < 0) {
                answer[0] = '\0';
        }
        wait_status(watcher);
        close(ready[0]);
        close(ready[1]);
        close(out[0]);
        return answer[0] == 'y';
}
