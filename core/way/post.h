/* Sessions in datagrams (SY_MESSAGES): a client's address and port at one address and port of ours is a
 * connection as any other, but that its client side has no socket.
 *
 *	client --- door ---> post ---> conn === server, or strands
 *	       <--- batches ----'
 *
 * A door (way/flow_door.c) receives in batches; each datagram goes to the connection of its post, is shown
 * to the module as long as it lies in the batch, and is copied only when it must wait. What is said to the
 * client goes out with the batch of this turn of the loop.
 *
 * The limits are those of flows: who may begin one, how many fit into a worker, when an idle one ends. They
 * do not stand on the board: when their worker dies, clients say again what was not answered. When another
 * worker takes a door over, what clients say goes there, and what was begun here is answered from here. */
#ifndef WAY_POST_H
#define WAY_POST_H

#include "way/flow.h"
#include "way/talk.h"

struct post {
	struct table_entry entry; /* flows.posts */
	struct flow_key key;
	struct datagram_name name; /* the client's */
	struct flow_door *door;
	struct conn *conn;
};

/* n datagrams are in the batch. */
void post_receive(struct flow_door *door, unsigned n);
/* One datagram to the client. */
void post_send(struct conn *conn, struct sy_span bytes);
/* The connection ends. Safe when it has no post. */
void post_forget(struct conn *conn);
/* Nothing comes from there any more. Who waits for something, or can be reached by others (sy_session.until_ms),
 * stays and is still spoken to when another worker has the door; if the service is gone, nobody does. */
void post_door_closes(struct flow_door *door);

#endif
