#define _GNU_SOURCE 1
#include "net/datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/must.h"
#include "net/socket.h"

/* From one place to the next: not a power of two, or the beginnings of all would share a few sets of
 * the processor's caches. */
#define DATAGRAM_STRIDE ((size_t)DATAGRAM_SIZE + 1344)

struct datagrams {
	unsigned n;               /* received, or to be sent */
	unsigned used;            /* places that are not as datagrams_receive() wants them */
	bool local;
	struct mmsghdr message[DATAGRAMS];
	struct iovec part[DATAGRAMS];
	struct datagram_name name[DATAGRAMS];
	int fd[DATAGRAMS];        /* to be sent from */
	uint8_t *bytes;
	uint8_t control[DATAGRAMS][DATAGRAM_CONTROL] __attribute__((aligned(16)));
};

_Static_assert(CMSG_SPACE(sizeof(struct in6_pktinfo)) <= DATAGRAM_CONTROL, "room for pktinfo");

struct datagrams *
datagrams_new(void)
{
	struct datagrams *batch = must_alloc(sizeof(*batch));

	batch->n = 0;
	batch->used = DATAGRAMS;
	batch->bytes = mmap(NULL, DATAGRAMS * DATAGRAM_STRIDE, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(batch->bytes != MAP_FAILED);
	for (unsigned i = 0; i < DATAGRAMS; i++)
		batch->part[i].iov_base = batch->bytes + i * DATAGRAM_STRIDE;
	return batch;
}

void
datagrams_free(struct datagrams *batch)
{
	if (!batch)
		return;
	munmap(batch->bytes, DATAGRAMS * DATAGRAM_STRIDE);
	free(batch);
}

unsigned
datagrams_receive(struct datagrams *batch, int fd, bool local)
{
	int n;

	if (local != batch->local)
		batch->used = DATAGRAMS;
	batch->local = local;
	for (unsigned i = 0; i < batch->used; i++) {
		batch->part[i].iov_len = DATAGRAM_SIZE;
		batch->message[i].msg_hdr = (struct msghdr){
			.msg_name = &batch->name[i],
			.msg_namelen = sizeof(batch->name[i]),
			.msg_iov = &batch->part[i],
			.msg_iovlen = 1,
			.msg_control = local ? batch->control[i] : NULL,
			.msg_controllen = local ? sizeof(batch->control[i]) : 0,
		};
	}
	n = recvmmsg(fd, batch->message, DATAGRAMS, MSG_DONTWAIT, NULL);
	batch->n = batch->used = n > 0 ? (unsigned)n : 0;
	return batch->n;
}

struct sy_span
datagram_bytes(const struct datagrams *batch, unsigned i)
{
	return sy_span(batch->part[i].iov_base, batch->message[i].msg_len);
}

const struct datagram_name *
datagram_from(const struct datagrams *batch, unsigned i)
{
	return &batch->name[i];
}

struct sy_addr
datagram_local(const struct datagrams *batch, unsigned i, const struct sy_addr *bound)
{
	struct msghdr *header = (struct msghdr *)(uintptr_t)&batch->message[i].msg_hdr;
	struct sy_addr local = *bound;

	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at; at = CMSG_NXTHDR(header, at)) {
		if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(at), sizeof(info));
			memcpy(local.ip, &info.ipi_addr, sizeof(info.ipi_addr));
		} else if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(at), sizeof(info));
			memcpy(local.ip, &info.ipi6_addr, sizeof(info.ipi6_addr));
		}
	}
	return local;
}

unsigned
datagrams_pass(struct datagrams *batch, unsigned first, unsigned n, int fd)
{
	int sent;

	if (n == 1)
		return send(fd, batch->part[first].iov_base, batch->message[first].msg_len,
		            MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
	for (unsigned i = first; i < first + n; i++) {
		batch->part[i].iov_len = batch->message[i].msg_len;
		batch->message[i].msg_hdr.msg_name = NULL;
		batch->message[i].msg_hdr.msg_namelen = 0;
		batch->message[i].msg_hdr.msg_control = NULL;
		batch->message[i].msg_hdr.msg_controllen = 0;
	}
	sent = sendmmsg(fd, batch->message + first, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	/* The kernel wrote msg_len, with what it was. */
	return sent > 0 ? (unsigned)sent : 0;
}

uint8_t *
datagram_place(struct datagrams *batch)
{
	must(batch->n < DATAGRAMS);
	return batch->part[batch->n].iov_base;
}

static void
datagram_leave_from(struct datagrams *batch, unsigned i, const struct sy_addr *local)
{
	struct msghdr *header = &batch->message[i].msg_hdr;
	bool six = local->family == SY_IPV6;
	size_t len = six ? sizeof(struct in6_pktinfo) : sizeof(struct in_pktinfo);
	struct cmsghdr *at = (void *)batch->control[i];

	memset(batch->control[i], 0, sizeof(batch->control[i]));
	at->cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
	at->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
	at->cmsg_len = CMSG_LEN(len);
	if (six) {
		struct in6_pktinfo info = { .ipi6_ifindex = 0 };

		memcpy(&info.ipi6_addr, local->ip, sizeof(info.ipi6_addr));
		memcpy(CMSG_DATA(at), &info, sizeof(info));
	} else {
		struct in_pktinfo info = { .ipi_ifindex = 0 };

		memcpy(&info.ipi_spec_dst, local->ip, sizeof(info.ipi_spec_dst));
		memcpy(CMSG_DATA(at), &info, sizeof(info));
	}
	header->msg_control = at;
	header->msg_controllen = CMSG_SPACE(len);
}

bool
datagram_put(struct datagrams *batch, size_t len, int fd, const struct datagram_name *to,
             const struct sy_addr *local)
{
	unsigned i = batch->n++;

	batch->name[i] = *to;
	batch->fd[i] = fd;
	batch->part[i].iov_len = len;
	batch->message[i].msg_hdr = (struct msghdr){
		.msg_name = &batch->name[i],
		.msg_namelen = to->sa.sa_family == AF_INET6 ? sizeof(to->in6) : sizeof(to->in),
		.msg_iov = &batch->part[i],
		.msg_iovlen = 1,
	};
	if (local)
		datagram_leave_from(batch, i, local);
	return batch->n == DATAGRAMS;
}

/* One that is refused (no route, a filter's word) does not keep the others back; a full buffer does. */
static unsigned
datagrams_send(int fd, struct mmsghdr *message, unsigned n)
{
	unsigned sent = 0, at = 0;

	while (at < n) {
		int got = sendmmsg(fd, message + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (got > 0) {
			sent += (unsigned)got;
			at += (unsigned)got;
			continue;
		}
		if (errno == EAGAIN)
			break;
		at++;
	}
	return sent;
}

unsigned
datagrams_flush(struct datagrams *batch)
{
	struct mmsghdr some[DATAGRAMS];
	unsigned sent = 0, left = batch->n, n;

	for (n = 1; n < left && batch->fd[n] == batch->fd[0]; n++)
		continue;
	if (n >= left) {
		sent = left ? datagrams_send(batch->fd[0], batch->message, left) : 0;
		batch->n = 0;
		return sent;
	}
	/* From several sockets: one after the other, each with its datagrams in order. */
	while (left > 0) {
		unsigned rest = 0;
		int fd = batch->fd[0];

		n = 0;
		for (unsigned i = 0; i < left; i++) {
			if (batch->fd[i] == fd) {
				some[n++] = batch->message[i];
			} else {
				batch->fd[rest] = batch->fd[i];
				batch->message[rest++] = batch->message[i];
			}
		}
		sent += datagrams_send(fd, some, n);
		left = rest;
	}
	batch->n = 0;
	return sent;
}

bool
datagram_addr(const struct datagram_name *name, struct sy_addr *out)
{
	struct sockaddr_storage whole;

	memcpy(&whole, name, sizeof(*name));
	return socket_addr(&whole, out);
}
