/* A descriptor that lines are written to, of whatever kind it is, so that writing never blocks,
 * never raises SIGPIPE, and changes nothing for others who share it (a shell's terminal, a parent's
 * pipe). */
#ifndef BASE_SINK_H
#define BASE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum sink_way {
	SINK_WRITE, /* a file, or opened again without blocking */
	SINK_POLL,  /* may block, and could not be opened again: ask before each write */
	SINK_SEND,  /* a socket */
};

struct sink {
	int fd;                       /* as given; borrowed */
	int own;                      /* the same, opened again; or -1 */
	enum sink_way way;
	bool terminal;
	bool journal;                 /* it is the stream that JOURNAL_STREAM names */
	bool datagrams;               /* one line each, without newline */
	bool remote;                  /* a socket to another machine, or looks like one */
	bool sigpipe;                 /* writing may raise it */
	struct sockaddr_storage peer; /* to connect again */
	socklen_t peer_len;
};

/* Any descriptor will do, even a closed one: then writing fails. */
void sink_open(struct sink *sink, int fd);
/* Closes what sink_open() opened, not the descriptor given. */
void sink_close(struct sink *sink);
/* Gives how many bytes were written, or -1 with errno; fewer than len when a file's disk is full.
 */
ssize_t sink_write(const struct sink *sink, const char *bytes, size_t len);

#endif
