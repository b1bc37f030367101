#include "way/edge.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/must.h"
#include "way/side.h"

enum {
	EDGE_EVENTS = 256,        /* taken at once; others in the next turn */
	EDGE_TOLD = 8,            /* who was told of so often has no short connection */
};

/* Connections are only noted here: none is driven, so none is freed, and the pointers are good. The last
 * comes first because way_due() expects them as libev calls. */
static void
edge_ready(struct ev_loop *loop, struct ev_io *set, int revents)
{
	struct epoll_event events[EDGE_EVENTS];
	int n = epoll_wait(set->fd, events, EDGE_EVENTS, 0);

	(void)loop, (void)revents;
	while (n-- > 0) {
		struct side *side = events[n].data.ptr;
		uint32_t said = events[n].events;
		uint32_t end = said & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

		/* A read stops before an urgent byte. */
		if (end || said & EPOLLPRI)
			side->behind = true;
		if (side->told < EDGE_TOLD)
			side->told++;
		way_due(side, (said & EPOLLIN || end ? EV_READ : 0) |
		              (said & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? EV_WRITE : 0));
	}
}

void
edge_open(struct way *way)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	must(fd >= 0);
	ev_io_init(&way->edges, edge_ready, fd, EV_READ);
	ev_io_start(way->loop, &way->edges);
}

void
edge_close(struct way *way)
{
	close(way->edges.fd);
}

/* libev tells of whatever is left, again and again: nothing has to be remembered. */
static void
edge_leave(struct way *way, struct side *side, int events)
{
	if (side->asked)
		(void)epoll_ctl(way->edges.fd, EPOLL_CTL_DEL, side->io.fd, NULL);
	side->edge = side->behind = false;
	side_watch(way, side, events);
}

void
edge_watch(struct way *way, struct side *side, int events)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (events & EV_WRITE ? EPOLLOUT : 0),
		.data.ptr = side,
	};

	/* What is ready still has had its share of this turn, and would not be told of again. */
	if (side->told == EDGE_TOLD || side->ready & events) {
		edge_leave(way, side, events);
		return;
	}
	if (!(events & ~side->asked))
		return;
	/* No memory, or fs.epoll.max_user_watches. */
	if (epoll_ctl(way->edges.fd, side->asked ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, side->io.fd, &event) < 0) {
		edge_leave(way, side, events);
		return;
	}
	side->asked = (uint8_t)(EV_READ | events);
}
