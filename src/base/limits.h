/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Every bound that a client, guest, host or file can reach. What crosses one is refused with words, never truncated in silence.
 */

/* HTTP */
#define LIMIT_HTTP_HEADER_BYTES         (32u << 10)  /* request line and all headers */
#define LIMIT_HTTP_HEADERS              100          /* number of header fields */
#define LIMIT_HTTP_BODY_BYTES           (3u << 20)   /* API object bodies; uploads stream and have their own bound */
#define LIMIT_HTTP_HEADER_TIME_US       10000000ull  /* TLS handshake and headers must be complete */
#define LIMIT_HTTP_BODY_TIME_US         60000000ull  /* an API body must be complete */
#define LIMIT_HTTP_IDLE_TIME_US         120000000ull /* keep-alive without a request */
#define LIMIT_HTTP_STALL_TIME_US        60000000ull  /* a response or upload that does not move */
#define LIMIT_HTTP_CONNECTIONS          20000        /* all connections of a server; fewer where fewer descriptors are allowed */
#define LIMIT_HTTP_CONNECTIONS_PER_PEER 12000        /* connections of one peer address (IPv4, or an IPv6 /64) */
/* Connections without an authenticated request; a new one takes the place of the oldest of the address that has most. Each costs
 * the time of a handshake and some 70 KB at most, so that strangers never hold more than some 150 MB. */
#define LIMIT_HTTP_UNAUTHENTICATED 2000
/* Connections of one user or node: five must conspire to keep all others out. */
#define LIMIT_HTTP_CONNECTIONS_PER_PRINCIPAL 4000
/* Bodies that are coming and answers that are not read, of one user or node: more is refused until some of it has gone. */
#define LIMIT_HTTP_MEMORY_PER_PRINCIPAL (128u << 20)
#define LIMIT_HTTP_MEMORY_BYTES         (384u << 20) /* of all; beyond it everybody has an eighth of the share */
#define LIMIT_HTTP_OUT_BYTES            (8u << 20) /* unsent bytes of one streaming response (a slow watcher) before it is ended */
#define LIMIT_HTTP_WS_FRAME_BYTES       (1u << 20) /* one WebSocket message */
#define LIMIT_HTTP_ANSWER_HEADER_BYTES  (256u << 10) /* all headers of an answer to us, redirects and interim answers included */

/* JSON and YAML documents from outside */
#define LIMIT_JSON_DEPTH     64
#define LIMIT_JSON_WRAP      8 /* levels around an object in lists and events */
#define LIMIT_JSON_BYTES     (3u << 20)
#define LIMIT_JSON_NODES     200000
#define LIMIT_JSON_PATCH_OPS 10000

/* API */
#define LIMIT_OBJECT_BYTES         (1536u << 10) /* one stored object */
#define LIMIT_LIST_PAGE            10000         /* largest page of a list */
#define LIMIT_SELECTOR_TERMS       64
#define LIMIT_WATCHES_PER_IDENTITY 2000
/* Events that wait in the queues of watches whose clients do not read, before they wait in the ring of events instead: of one
 * watch, and of all together, but for the least that lets a watch go on. */
#define LIMIT_WATCH_AHEAD_BYTES       (256u << 10)
#define LIMIT_WATCH_AHEAD_LEAST_BYTES (16u << 10)
#define LIMIT_WATCHES_AHEAD_BYTES     (64u << 20)
#define LIMIT_MANAGED_FIELDS_BYTES    (256u << 10) /* who owns which field of one object: older updates are forgotten beyond it */
#define LIMIT_FIELD_APPLIERS          100          /* managers that apply one object */
#define LIMIT_FIELD_UPDATERS          10           /* managers that update one object; older ones are folded into one */
#define LIMIT_WARNINGS                32           /* warnings in the headers of one answer */
#define LIMIT_LABELS_BYTES            (256u << 10) /* annotations of one object, all together */
#define LIMIT_USER_DATA_BYTES         2048         /* inline cloud-init (requirement D82) */
#define LIMIT_SECRET_BYTES            (1u << 20)
#define LIMIT_EVENTS_PER_NAMESPACE    5000 /* further ones of users are refused, of Gabbro dropped */
/* Requests of one user that are remembered by their Gabbro-Request-Id; beyond it the oldest go early. */
#define LIMIT_REQUESTS_REMEMBERED 10000
#define LIMIT_FAULTS              64 /* causes listed in one refusal; a last one says how many more */

#define LIMIT_ROLE_RIGHTS      8192 /* what one role means: verbs x groups x resources x names of its rules */
#define LIMIT_ROLE_AGGREGATION 8    /* roles that aggregate roles that aggregate roles ... */

/* Credentials */
#define LIMIT_TOKENS_PER_USER      100 /* beside sessions; more are refused */
#define LIMIT_SESSIONS_PER_USER    20  /* one more ends the oldest */
#define LIMIT_PASSWORD_JOBS        16  /* passwords that are being hashed or wait for it: some 20 ms each, two at once */
#define LIMIT_ATTEMPTS_PER_ADDRESS 30  /* wrong passwords in a row from one address (IPv4, or an IPv6 /64), then one in ... */
#define LIMIT_ATTEMPT_ADDRESS_US   2000000ull
#define LIMIT_ATTEMPTS_PER_USER    10 /* ... and for one name, then one in ... */
#define LIMIT_ATTEMPT_USER_US      6000000ull
#define LIMIT_ATTEMPT_KEYS         10000 /* names and addresses that are remembered, each until its attempts are forgiven */

/* Store */
#define LIMIT_STORE_TXN_OPS             100   /* revisions of one transaction, on every driver */
#define LIMIT_STORE_EVENT_RING          16384 /* events kept in memory for watches */
#define LIMIT_STORE_EVENT_RING_BYTES    (64u << 20)
#define LIMIT_STORE_EVENT_RING_QUIET    1024 /* more than these are kept only while they are younger than ... */
#define LIMIT_STORE_EVENT_RING_QUIET_US 900000000ull
#define LIMIT_STORE_QUEUE_OPS           8192 /* accepted writes that are not yet durable */
#define LIMIT_STORE_QUEUE_BYTES         (64u << 20)

/* Uploads in pieces */
#define LIMIT_UPLOADS_PER_PROJECT   200            /* half uploads of one project (cluster images count as one); more are refused */
#define LIMIT_UPLOADS               1000           /* of all */
#define LIMIT_UPLOAD_RECORDS        5000           /* with those that ended and are remembered until their tokens have ended too */
#define LIMIT_UPLOADS_AT_ONCE       128            /* requests that bring bytes: each keeps two buffers */
#define LIMIT_UPLOADS_BUFFER_BYTES  (32u << 20)    /* of all uploads; beyond it each has two of 256 KiB */
#define LIMIT_UPLOAD_LIFE_US        86400000000ull /* a half upload to which nothing was added for so long is removed */
#define LIMIT_UPLOAD_TOKEN_US       900000000ull   /* a token for one upload, unless a shorter life is asked for */
#define LIMIT_UPLOAD_LOCK_US        5000000ull     /* a request that brought bytes so lately keeps others out */
#define LIMIT_UPLOAD_IDLE_US        60000000ull    /* another user's upload takes the place of one that slept so long */
#define LIMIT_UPLOAD_METADATA_BYTES 4096

/* Machines */
#define LIMIT_BLOCK_DEVICES    16
#define LIMIT_CPU_CORES        248
#define LIMIT_IMAGE_BYTES      (4ull << 40) /* virtual size of an image or disk */
#define LIMIT_DOMAIN_XML_BYTES (1u << 20)

/* Callbacks */
#define LIMIT_CALLBACKS_PER_PROJECT 20   /* those beyond it do nothing */
#define LIMIT_CALLBACK_DELIVERIES   1000 /* of one callback: events that wait, and the last one of each object */
#define LIMIT_CALLBACK_DEAD         100  /* of one callback: events that were given up; older ones go */

/* Images: what is fetched, and what is unpacked */
#define LIMIT_DOWNLOADS             8 /* at once, of a gateway */
#define LIMIT_DOWNLOADS_PER_PROJECT 4
#define LIMIT_DOWNLOAD_REDIRECTS    5
#define LIMIT_DOWNLOAD_ATTEMPTS     4           /* in a row that bring less than ... */
#define LIMIT_DOWNLOAD_STEP_BYTES   (1u << 20)  /* ... this */
#define LIMIT_DOWNLOAD_RATE         1024u       /* bytes a second that a server must send, over ... */
#define LIMIT_DOWNLOAD_STALL_US     60000000ull /* ... this time */
#define LIMIT_DOWNLOAD_US           86400000000ull
#define LIMIT_UNPACK_BYTES          (1ull << 30) /* every packed image may unpack to this, and beyond it ... */
#define LIMIT_UNPACK_RATIO          250          /* ... to so many times its packed size */
#define LIMIT_UNPACK_MEMORY_BYTES   (128u << 20) /* of one decoder */
#define LIMIT_UNPACK_US             14400000000ull
#define LIMIT_IMAGE_RESERVE_BYTES   (64u << 20) /* that images leave free on the gateway's disk; at most a 16th of it */

/* Agent */
#define LIMIT_MANIFESTS_PER_NODE      4 /* streams of one node; one more ends the oldest */
#define LIMIT_GUEST_AGENT_REPLY_BYTES (1u << 20)
#define LIMIT_CONSOLE_SESSIONS        64

/* What is asked of guests through their agents */
#define LIMIT_GUEST_CALLS             64 /* at once, of a gateway and of a host's agent */
#define LIMIT_GUEST_CALLS_PER_MACHINE 4
#define LIMIT_GUEST_EXEC_WORDS        256          /* of one command line */
#define LIMIT_GUEST_EXEC_WORDS_BYTES  (64u << 10)  /* all together */
#define LIMIT_GUEST_EXEC_INPUT_BYTES  (128u << 10) /* what it reads */
#define LIMIT_GUEST_EXEC_OUTPUT_BYTES (256u << 10) /* each of what it writes and what it complains; more ends it */
#define LIMIT_GUEST_EXEC_S            600          /* how long it may take */
#define LIMIT_GUEST_FREEZE_S          60           /* how long it may be frozen */
#define LIMIT_SCREENSHOT_BYTES        (24u << 20)  /* of a picture of its screen */
#define LIMIT_GUEST_PASSWORD_BYTES    1024
