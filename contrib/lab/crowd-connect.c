/* Connections of clients: the socket with its own address, TLS with the name that is asked for. */
#include "crowd.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

static int
connect_socket(struct crowd_client *client, const struct lab_addr *addr, struct lab_err *err)
{
	bool stream = client->goal->transport != LAB_UDP;
	int on = 1;
	int fd = socket(addr->any.sa_family,
			(stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, "no socket: %s", strerror(errno));
	client->stream.fd = fd;
	if (stream)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!client->crowd->has_net || client->crowd->net.base.any.sa_family != addr->any.sa_family)
		return 0;
	addr_nth(&client->crowd->net,
		 client->crowd->roam && !client->stays ? client->crowd->source_next++
						       : client->number,
		 &client->source);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, &client->source.any, client->source.len)) {
		char text[ADDR_TEXT];

		return err_set(err, "cannot use the source address %s: %s",
			       addr_host_text(&client->source, text), strerror(errno));
	}
	return 0;
}

static int
connect_secure(struct crowd_client *client, struct lab_err *err)
{
	const char *name = client->goal->host;

	if (stream_secure(&client->stream, client->crowd->tls, false, err))
		return -1;
	if (name && (!SSL_set_tlsext_host_name(client->stream.ssl, name) ||
		     !SSL_set1_host(client->stream.ssl, name)))
		return err_set(err, "\"%s\" cannot be a host's name", name);
	return 0;
}

int
connect_begin(struct crowd_client *client, struct lab_err *err)
{
	const struct crowd_target *goal = client->goal;
	const struct lab_addr *addr = client->next_addr.len ? &client->next_addr : &goal->addr;
	struct lab_addr to = *addr;

	client->next_addr.len = 0;
	if (connect_socket(client, &to, err) ||
	    (goal->transport == LAB_TLS && connect_secure(client, err)))
		return -1;
	if (!connect(client->stream.fd, &to.any, to.len) || errno == EINPROGRESS || errno == EINTR)
		return 0;
	err_set(err, "%s", strerror(errno));
	return 1;
}

int
connect_done(struct crowd_client *client)
{
	socklen_t len = sizeof(client->source.v6);
	int error = 0;

	getsockopt(client->stream.fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (!error && !getsockname(client->stream.fd, &client->source.any, &len))
		client->source.len = len;
	return error;
}
