/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * When a guest's agent is asked next. One that answers is asked once a minute, one that is not there every ten seconds, and at once
 * when libvirt says that its channel was opened or closed, or that the guest was started anew. One that is there and lets its host
 * wait is asked after 5 s, 10, 20, 40, and then once a minute; news of it begin that again, but no more often than every 5 s: a
 * guest may open and close its channel as often as it likes.
 */
struct guest_turn {
        uint64_t due_us;   /* 0: at once */
        uint64_t asked_us; /* when it was asked last */
        unsigned waits;    /* times in a row that it let us wait */
        bool asking;       /* it is being asked */
        bool news;         /* something has happened since it was asked */
};

/* What came of asking. */
struct guest_answer {
        bool connected; /* it has answered */
        bool waited;    /* it took up what it was asked and let us wait */
        bool soon;      /* there is something left to do in a while */
};

/** guest_turn_look() - something has happened to the guest or to its channel. */
void guest_turn_look(struct guest_turn *turn, uint64_t now_us);
/** guest_turn_is_due() - whether guest_turn_begin() is called now. */
bool guest_turn_is_due(const struct guest_turn *turn, uint64_t now_us);
void guest_turn_begin(struct guest_turn *turn, uint64_t now_us);
/** guest_turn_end() - @answer NULL: it was not asked after all, because libvirt is away. */
void guest_turn_end(struct guest_turn *turn, uint64_t now_us, const struct guest_answer *answer);
/** guest_turn_later() - it is not asked now, because it would not answer. */
void guest_turn_later(struct guest_turn *turn, uint64_t now_us);
