/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * First-boot images: cloud-init's NoCloud seed (volume "cidata") or Windows' answer files, as ISO 9660 with Joliet and Rock Ridge,
 * made in the process. User data is a secret: it goes into the file and nowhere else.
 */
enum seed_kind { SEED_CLOUD_INIT, SEED_SYSPREP };

struct seed_nic {
        const char *mac;
        bool dhcp;
        const char *const *addresses; /* "10.66.0.9/24", NULL-terminated; NULL: none */
        const char *gateway;          /* NULL: none */
        const char *const *dns;       /* NULL-terminated; NULL: none */
        unsigned mtu;                 /* 0: none given */
};

struct seed {
        enum seed_kind kind;
        const char *instance_id;
        const char *hostname;  /* NULL: none */
        const void *user_data; /* any bytes; for Sysprep the answer file */
        size_t user_data_len;
        const struct seed_nic *nics;
        size_t n_nics;
};

/**
 * seed_write() - make the image at @path: mode 0600, complete or not there, durable
 *
 * Return: 0 or -errno.
 */
int seed_write(const struct seed *seed, const char *path);

/* The texts, for tests: g_free(). */
char *seed_meta_data(const struct seed *seed);
char *seed_network_config(const struct seed *seed);
