/* sd_notify(3) without libsystemd: a datagram to the socket in $NOTIFY_SOCKET (path or abstract),
 * for Type=notify-reload: READY=1, RELOADING=1 with MONOTONIC_USEC, STOPPING=1, STATUS=, WATCHDOG=1. */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include <stdbool.h>

void notify_open(void);     /* remembers the socket and takes it out of the environment */
/* Puts it back for a program that takes our place, or out again when that failed. */
void notify_hand_on(void);
void notify_forget(void);
bool notify_watchdog(void); /* WATCHDOG=1 is expected from time to time */
/* Does nothing when nobody wants to know. */
__attribute__((format(printf, 1, 2))) void notify(const char *format, ...);

#endif
