/* Every end of every connection has one reason from this table: name (for counters, logs and
 * programs), is it an error (of the service or a server: a client may leave when it likes), words
 * for the operator; numbers are put behind the words where the connection ends (report.h). The order
 * is that of the counters on the board: new ones are added at the end. */
#ifndef SHARE_REASONS_H
#define SHARE_REASONS_H

#include <stdbool.h>

#define REASONS(X) \
	X(NONE, "none", false, "still open") \
	X(CLIENT_DONE, "client-done", false, "client closed first") \
	X(SERVER_DONE, "server-done", false, "server closed first") \
	X(CLIENT_RESET, "client-reset", false, "client reset the connection") \
	X(SERVER_RESET, "server-reset", true, "server reset the connection") \
	X(CLIENT_LOST, "client-lost", false, "client stopped answering") \
	X(SERVER_LOST, "server-lost", true, "server stopped answering") \
	X(IDLE, "idle", false, "nothing was said for the idle timeout") \
	X(CLIENT_EARLY, "client-early", false, "client left before a server was chosen") \
	X(GREET_TIMEOUT, "greet-timeout", false, "client did not say enough in time") \
	X(PROXY_HEADER, "proxy-header", false, "PROXY header refused") \
	X(DENIED, "denied", false, "client is in a deny network") \
	X(NOT_ALLOWED, "not-allowed", false, "client is in no allow network") \
	X(DISABLED, "disabled", false, "service is disabled") \
	X(SERVICE_FULL, "service-full", false, "service has max-connections open") \
	X(SERVICE_RATE, "service-rate", false, "service is at its max-rate") \
	X(SOURCE_FULL, "source-full", false, "client address has max-connections-per-source open") \
	X(SOURCE_RATE, "source-rate", false, "client address is at its max-rate-per-source") \
	X(NO_SERVER, "no-server", true, "no server is up") \
	X(TOO_FEW_UP, "too-few-up", true, "fewer servers are up than minimum-up") \
	X(SERVERS_FULL, "servers-full", true, "every server has max-connections open") \
	X(CONNECT_REFUSED, "connect-refused", true, "server refused the connection") \
	X(CONNECT_TIMEOUT, "connect-timeout", true, "server did not answer within connect-timeout") \
	X(CONNECT_FAILED, "connect-failed", true, "server could not be reached") \
	X(CONNECT_LOCAL, "connect-local", true, "no connection could be made from here") \
	X(PROTOCOL, "protocol", false, "protocol") \
	X(PROTOCOL_WINDOW, "protocol-window", false, "said more than the protocol's window without sense") \
	X(PROTOCOL_LATE, "protocol-late", false, "did not complete in time") \
	X(PROTOCOL_CUT, "protocol-cut", true, "closed in the middle of an exchange") \
	X(PROTOCOL_BROKEN, "protocol-broken", true, "protocol module broke its contract") \
	X(SERVER_DOWN, "server-down", true, "server went down") \
	X(REMOVED, "removed", false, "service was removed and drain-timeout is over") \
	X(SHUTDOWN, "shutdown", false, "Steelyard is stopping") \
	X(OPERATOR, "operator", false, "closed by the operator") \
	X(NO_MEMORY, "no-memory", true, "out of memory") \
	X(WORKER_FULL, "worker-full", true, "worker has no descriptor left") \
	X(SERVER_REFUSED, "server-refused", true, "server refused the datagrams") \
	X(PACKET_RATE, "packet-rate", false, "client address is at its max-packet-rate-per-source") \
	X(PACKET_DROPPED, "packet-dropped", false, "protocol dropped the datagram") \
	X(MOVED, "moved", false, "another worker goes on with the flow") \
	X(TLS_HANDSHAKE, "tls-handshake", false, "TLS handshake failed") \
	X(TLS_LATE, "tls-late", false, "client did not complete the TLS handshake in time") \
	X(TLS_SERVER, "tls-server", true, "TLS handshake with the server failed") \
	X(TLS_BROKEN, "tls-broken", true, "TLS failed") \
	X(DRAINED, "drained", false, "server is drained, and nothing was said for drain-close") \
	X(TLS_SLOW, "tls-slow", false, "client let the TLS handshake wait, and others needed its place") \
	X(FLOW_GONE, "flow-gone", false, "the client connection that it is for has ended") \
	X(FLOW_FULL, "flow-full", false, "the client connection that it is for has too many requests open")

enum reason {
#define REASON_ENUM(name, label, error, words) REASON_##name,
	REASONS(REASON_ENUM)
#undef REASON_ENUM
	REASONS_END
};

struct reason_row {
	const char *name;         /* in logs, counters, JSON */
	const char *words;
	bool error;
};

extern const struct reason_row reason_rows[REASONS_END];

#endif
