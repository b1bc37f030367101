/*
 * meeting.h: how a meeting is joined in the lab, and what is said in it. In a farm, a user opens the page of
 * the meeting, learns by SIP which server has it, and shows there a token that was issued minutes before. Here
 * the page gives the token, and any server that knows the lab's secret takes it: servers of the lab do not
 * talk to each other.
 *
 * What PSOM says inside of TLS is not public (nor in the module psom), so these frames are the lab's own and
 * nothing else is meant by them: a length of four bytes, the first one the highest, of what follows; one byte
 * that says what it is; and bytes.
 *
 *	client                          server
 *	JOIN token              ->
 *	                        <-      WELCOME server, port, client's address:port
 *	SAY bytes               ->
 *	                        <-      SAID the same bytes
 *	LEAVE                   ->
 *	                        <-      BYE, and the connection's end
 *
 * The server never begins, as far as is known. Slides are shared in larger frames of the same kind; desktops
 * are not (they go over TURN).
 */
#ifndef LAB_MEETING_H
#define LAB_MEETING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
	MEETING_TOKEN = 160,
	MEETING_FRAME = 5, /* bytes before those of the frame */
	MEETING_MOST = 32 * 1024,
};

enum meeting_kind {
	MEETING_JOIN = 1,
	MEETING_WELCOME,
	MEETING_SAY,
	MEETING_SAID,
	MEETING_LEAVE,
	MEETING_BYE,
};

/* The name by which pages of meetings are asked for, and the page of the lab's one meeting. */
extern const char meeting_host[], meeting_page[];

/* "MEETING/USER/PROOF". Returns token. */
const char *meeting_token(const char *meeting, const char *user, char token[static MEETING_TOKEN]);

/* Whether the lab has made it. */
bool meeting_admits(const char *token, size_t len);

/* A frame that begins in somebody's buffer; it points there. */
struct meeting_frame {
	enum meeting_kind kind;
	const char *bytes;
	size_t len;
};

/* 1: a whole frame, of MEETING_FRAME + len bytes; 0: it is not complete; -1: it is none. */
int meeting_read(struct meeting_frame *frame, const char *bytes, size_t len);

/* Adds the beginning of a frame, which len bytes are to follow. */
void meeting_begin(struct lab_buf *buf, enum meeting_kind kind, size_t len);

void meeting_say(struct lab_buf *buf, enum meeting_kind kind, const void *bytes, size_t len);

#endif
