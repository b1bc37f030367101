/* loop.h: what both programs need around their event loop. */
#ifndef LAB_LOOP_H
#define LAB_LOOP_H

#include <ev.h>
#include <stddef.h>

/* The struct in which a watcher (or any other member) is embedded. */
#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Ignores SIGPIPE and takes as many descriptors as the system allows; returns their number. */
unsigned long loop_prepare(void);

#endif
