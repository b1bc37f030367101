#include "conf/core_rows.h"

#include <string.h>

#include "conf/lint.h"

static const char *const log_levels[] = { "err", "warn", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const on_downs[] = { "reset", "keep", NULL };
static const char *const policies[] = { "all", "any", NULL };
static const char *const send_proxies[] = { "off", "v1", "v2", "console", NULL };
static const char *const anonymous[] = { "look", "off", NULL };

const struct sy_row main_rows[] = {
	SY_ROW(struct main_conf, global.user, "user", SY_GIVEN(struct main_conf, user_given),
	       .doc = "The user that workers, checker and console run as; `steelyard' when there "
		      "is one, "
		      "else `nobody'. Without root's rights everything runs as the user who "
		      "started it."),
	SY_ROW(struct main_conf, workers, "workers", .preset = "auto",
	       .doc = "Number of worker processes, 1 to 64; auto is one for each processor."),
	SY_ROW(struct main_conf, listen_slots, "listen-slots", .max = 1024, .preset = "0",
	       .doc = "Sockets for each address and port, spread over the workers; rounded up to "
		      "a power of "
		      "two. 0 chooses: as many as workers, or four times as many when their "
		      "number is no "
		      "power of two, so that the shares stay nearly equal."),
	SY_ROW(struct main_conf, global.worker_handshakes, "worker-handshakes", .min = 8,
	       .max = 1000000, .preset = "1000",
	       .doc = "How many TLS handshakes of clients one worker has under way at most, counted "
	              "from the client's first byte; clients of listeners with TLS that come then wait "
	              "to be accepted. To make room, handshakes that have taken longer than a second are "
	              "ended, first those of the address that has most under way."),
	SY_ROW(struct main_conf, global.worker_connections, "worker-connections", .min = 16,
	       .max = 4000000, .preset = "65536", SY_GIVEN(struct main_conf, connections_given),
	       .doc = "Connections of one worker, at most; each takes two descriptors, and what "
		      "the "
		      "system allows a process limits it further."),
	SY_ROW(struct main_conf, global.log_connections, "log-connections", .preset = "on",
	       .doc = "Logs one line at the end of each connection; which ones, and how, says "
		      "exchange-log."),
	SY_ROW(struct main_conf, pid_file, "pid-file", .doc = "The master writes its process id "
							      "there."),
	SY_ROW(struct main_conf, global.manage_routing, "manage-routing", .preset = "off",
	       .doc = "on: the routes and packet rules that snat off and outbound-snat need on this "
		      "machine are made, kept and removed by Steelyard; see TRANSPARENCY."),
	SY_ROW(struct main_conf, global.routing_table, "routing-table", .min = 1, .max = 0x7fffffff,
	       .preset = "21337",
	       .doc = "Number of the routing table that manage-routing uses, and of the mark of the "
		      "packets for it: one that nobody else on this machine uses."),
	SY_ROW(struct main_conf, global.shutdown_timeout, "shutdown-timeout", .max = 30 * SY_DAY,
	       .preset = "0", .doc = "A graceful stop waits so long for connections to end, then "
				     "resets "
				     "those that are left; 0 waits for ever."),
	SY_ROW_END
};

const struct rows_other main_others[] = {
	{ "log", "stderr | syslog | file PATH [level=err|warn|info|debug] [format=text|json]",
	  "Where the log goes; stderr and level info unless told otherwise. A file is opened anew "
	  "on SIGUSR1." },
	{ "control", "PATH [mode=0660] [group=NAME]",
	  "The socket that steelyardctl talks to, who may open it, and the group that it belongs "
	  "to." },
	{ "tables", "{ ... }", "Sizes of the shared tables." },
	{ "console", "{ ... }", "The web page and the API over TCP." },
	{ "notify", "{ ... }", "Who is told when a service or a server changes state." },
	{ "exchange-log", "{ ... }", "Which connections have a line in the log, and what it looks like." },
	{ "recorder", "{ ... }", "Where the flight recorder is written to." },
	{ "pool", "NAME [port=N] { ... }", "Real servers that can stand in for each other." },
	{ "virtual-service", "NAME { ... }", "What clients connect to, and how it is served." },
	{ NULL, NULL, NULL }
};

const struct sy_row log_rows[] = {
	{ .name = "level", .type = SY_ROW_CHOICE, .offset = offsetof(struct log_conf, level),
	  .words = log_levels, .preset = "info", .doc = "What is logged: this level and those "
							"before it." },
	{ .name = "format", .type = SY_ROW_CHOICE, .offset = offsetof(struct log_conf, format),
	  .words = log_formats, .preset = "text", .doc = "Lines for people, or JSON objects." },
	SY_ROW_END
};

const struct sy_row control_rows[] = {
	SY_ROW(struct control_conf, mode, "mode", .preset = "0660", .doc = "Permissions, octal."),
	SY_ROW(struct control_conf, group, "group", .doc = "Group of the socket."),
	SY_ROW_END
};

const struct sy_row tables_rows[] = {
	SY_ROW(struct board_size, services, "services", .max = 1 << 20, .preset = "0",
	       .doc = "Virtual services."),
	SY_ROW(struct board_size, cells, "cells", .max = 1 << 22, .preset = "0",
	       .doc = "Virtual services, servers, and servers as used by a service, together."),
	SY_ROW(struct board_size, checks, "checks", .max = 1 << 22, .preset = "0",
	       .doc = "Servers times monitors."),
	SY_ROW(struct board_size, persist_entries, "persistence-entries", .max = 1 << 26,
	       .preset = "131072", .doc = "Clients whose server is remembered."),
	SY_ROW(struct board_size, flow_entries, "flow-entries", .max = 1 << 22, .preset = "32768",
	       .doc = "UDP flows of each worker that go on when the worker was killed."),
	SY_ROW(struct board_size, records, "recorder-entries", .max = 1 << 20, .preset = "2048",
	       .doc = "Ends of connections that the flight recorder keeps for each worker, 256 bytes "
		      "each, besides a quarter as many that ended with an error and as many lines of "
		      "the log for each process; 0: it is off."),
	SY_ROW_END
};

const struct sy_row console_rows[] = {
	SY_ROW(struct global_settings, console.allow, "allow",
	       .doc = "Only clients from these networks are answered; without it all that can "
		      "connect."),
	SY_ROW(struct global_settings, console.users, "users",
	       .doc = "File with those who may log in: a line NAME:PASSWORD:ROLE for each, as "
		      "steelyardctl passwd prints it. Without it nobody can log in, and over TCP "
		      "one can only look, from this machine."),
	SY_ROW(struct global_settings, console.anonymous, "anonymous", .words = anonymous,
	       .preset = "look",
	       .doc = "What those may who come from this machine and have not logged in: look, or "
		      "nothing (off). Who comes through a virtual-service must always log in."),
	SY_ROW(struct global_settings, console.trace_decrypted, "trace-decrypted", .preset = "off",
	       .doc = "on: a trace may hold what was said within TLS that ends here, if the operator asks "
		      "for it; passwords and cookies included."),
	SY_ROW(struct global_settings, console.session_timeout, "session-timeout",
	       .min = SY_MINUTE, .max = SY_DAY, .preset = "30m",
	       .doc = "A login ends when nothing was asked for so long; after 12 hours in any case."),
	SY_ROW_END
};

const struct sy_row notify_rows[] = {
	SY_ROW(struct global_settings, notify.program, "program",
	       .doc = "Program that is run when a service or a server changes state, by its absolute "
		      "path, with the arguments SERVICE or SERVER, its name, the new state in "
		      "capitals, and how many servers take clients."),
	SY_ROW(struct global_settings, notify.mail, "mail",
	       .doc = "Address that gets mail about it."),
	SY_ROW(struct global_settings, notify.sendmail, "sendmail", .preset = "/usr/sbin/sendmail",
	       .doc = "Program that sends it: reads a message with its header, and takes -t and -oi."),
	SY_ROW(struct global_settings, notify.fold, "fold", .min = SY_SECOND, .max = SY_DAY,
	       .preset = "1m",
	       .doc = "Who was told of a change of something is told of its next ones together, after "
		      "so long; mails are as far apart."),
	SY_ROW(struct global_settings, notify.timeout, "timeout", .min = SY_SECOND, .max = SY_HOUR,
	       .preset = "30s", .doc = "How long the program may take; then it is killed."),
	SY_ROW_END
};

const struct sy_row recorder_rows[] = {
	SY_ROW(struct global_settings, recorder.directory, "directory",
	       .doc = "Folder that gets a file when a process dies or a server changes state: what was "
		      "logged and what ended before, a JSON object on each line. It must belong to the "
		      "user that the console runs as."),
	SY_ROW(struct global_settings, recorder.files, "files", .min = 1, .max = 10000, .preset = "50",
	       .doc = "Files that are kept; the oldest ones go."),
	SY_ROW(struct global_settings, recorder.size, "size", .min = 4096,
	       .max = UINT64_C(64) << 20, .preset = "4m",
	       .doc = "Size of a file, at most; the newest records are written."),
	SY_ROW(struct global_settings, recorder.fold, "fold", .max = SY_HOUR, .preset = "30s",
	       .doc = "Files are so far apart; what happens meanwhile stands in the next one."),
	SY_ROW_END
};

const struct rows_other console_others[] = {
	{ "listen", "ADDRESS:PORT ...", "Where the console answers HTTP; without it nowhere but "
					"on the "
	  "control socket." },
	{ NULL, NULL, NULL }
};

static const char *const pool_transports[] = { "client", "tcp", "udp", NULL };

const struct sy_row pool_rows[] = {
	SY_ROW(struct pool, port, "port", .min = 1, .max = 65535,
	       .doc = "Port of the servers that have none of their own; without it the port that "
		      "the "
		      "client connected to."),
	SY_ROW(struct pool, slow_start, "slow-start", .max = SY_DAY, .preset = "0",
	       .doc = "A server that came back gets its full share after so long, a growing part "
		      "of it "
		      "meanwhile."),
	SY_ROW(struct pool, transport, "transport", .words = pool_transports, .preset = "client",
	       .doc = "How the servers are spoken to: as the client is (client; with tls always over TCP), "
		      "or always over tcp or udp, which needs a protocol that carries messages from the "
		      "one to the other."),
	SY_ROW_END
};

const struct rows_other pool_others[] = {
	{ "server", "NAME ADDRESS[:PORT] [weight=N] [max-connections=N] [port=N]",
	  "A real server: its name, and its address or host name." },
	{ "tls", "{ ... }", "Servers are spoken to over TLS." },
	{ NULL, NULL, NULL }
};

const struct sy_row server_rows[] = {
	SY_ROW(struct server_conf, weight, "weight", .max = 65535, .preset = "100",
	       .doc = "Its share, compared with the others'; 0: no new clients."),
	SY_ROW(struct server_conf, max_connections, "max-connections", .preset = "0",
	       .doc = "Connections that it gets at the same time, at most, from all services "
		      "together; "
		      "0: no limit."),
	SY_ROW(struct server_conf, port, "port", .min = 1, .max = 65535,
	       .doc = "Its port, when that is not the same for the whole pool."),
	SY_ROW_END
};

const struct sy_row target_rows[] = {
	SY_ROW(struct target, port, "port", .min = 1, .max = 65535,
	       .doc = "Port of the servers in this service; without it the pool's, or the one "
		      "that the "
		      "client connected to."),
	SY_ROW_END
};

const struct rows_other target_others[] = {
	{ "tls", "{ ... }", "Servers are spoken to over TLS in this service; instead of the pool's." },
	{ NULL, NULL, NULL }
};

const struct rows_other listen_others[] = {
	{ "tls", "{ ... }", "Clients speak TLS, which ends here." },
	{ NULL, NULL, NULL }
};

#define SERVICE(field, label, ...) SY_ROW(struct service_settings, field, label, __VA_ARGS__)

const struct sy_row service_rows[] = {
	SERVICE(enabled, "enabled", .preset = "on",
		.doc = "off: nothing listens, nothing is checked; the service is only shown."),
	SERVICE(optional, "optional", .preset = "off",
		.doc = "on: when no server answers, the service is shown as unused, not as "
		       "broken."),
	SERVICE(idle_timeout, "idle-timeout", .min = SY_SECOND, .max = 30 * SY_DAY, .preset = "30m",
		SY_GIVEN(struct service_settings, idle_given),
		.doc = "A connection without a byte in either direction for so long is reset. For "
		       "UDP 60s unless given: there a flow without a datagram ends."),
	SERVICE(connect_timeout, "connect-timeout", .min = 50, .max = 5 * SY_MINUTE, .preset = "5s",
		.doc = "How long a server may take to accept a connection; then another one is "
		       "tried."),
	SERVICE(greet_timeout, "greet-timeout", .min = 50, .max = SY_HOUR, .preset = "10s",
		.doc = "How long a client may take for the PROXY header and for the first bytes "
		       "that the "
		       "protocol needs to see."),
	SERVICE(drain_timeout, "drain-timeout", .max = 30 * SY_DAY, .preset = "0",
		.doc = "How long the connections of a service that a reload took away may go on; "
		       "0: as long as they like."),
	SERVICE(drain_close, "drain-close", .max = 30 * SY_DAY, .preset = "0",
		.doc = "Connections of a drained or disabled server that were silent for so long "
		       "are closed in order, unless the protocol knows that something is under "
		       "way; 0: they may stay as long as they like."),
	SERVICE(drain_close_rate, "drain-close-rate", .min = 1, .preset = "20",
		.doc = "How many of them each worker closes in a second, for each such server, at "
		       "most."),
	SERVICE(server_idle_connections, "server-idle-connections", .max = 65536, .preset = "32",
		.doc = "Connections to each server that a worker keeps for the next exchange, of "
		       "whichever client, with protocols that allow it; the oldest goes when there "
		       "are more. Messages of protocol sip in mode proxy share them while others "
		       "are under way. 0: connections to servers belong to one client. With snat off or "
		       "send-proxy they always do."),
	SERVICE(server_idle_timeout, "server-idle-timeout", .min = SY_SECOND, .max = SY_DAY,
		.preset = "60s",
		.doc = "How long such a connection waits for an exchange. It should be less than "
		       "the servers' own keep-alive timeout (IIS has 120s, nginx 75s, Apache 5s): "
		       "the longer of the two decides how often a request meets a closing "
		       "connection and has to be sent again."),
	SERVICE(tries, "tries", .min = 1, .max = 8, .preset = "3",
		.doc = "Servers that are tried for one exchange, at most."),
	SERVICE(minimum_up, "minimum-up", .min = 1, .max = 65535, .preset = "1",
		.doc = "Servers that must be up; with fewer the service counts as down: the "
		       "sorry pool "
		       "answers, or clients are refused."),
	SERVICE(monitor_policy, "monitor-policy", .words = policies, .preset = "all",
		.doc = "With several monitors, a server is up when all of them say so, or any of "
		       "them."),
	SERVICE(on_down, "on-down", .words = on_downs, .preset = "reset",
		.doc = "What happens to the connections of a server that goes down."),
	SERVICE(max_connections, "max-connections", .preset = "0",
		.doc = "Connections at the same time, at most; 0: no limit."),
	SERVICE(max_connections_per_source, "max-connections-per-source", .preset = "0",
		.doc = "The same for each client address (IPv6: each /64)."),
	SERVICE(max_rate, "max-rate", .preset = "0",
		.doc = "New connections per second, at most; 0: no limit."),
	SERVICE(max_rate_per_source, "max-rate-per-source", .preset = "0",
		.doc = "The same for each client address (IPv6: each /64)."),
	SERVICE(max_packet_rate_per_source, "max-packet-rate-per-source", .preset = "0",
		.doc = "Datagrams per second of each client address (IPv6: each /64), at most; "
		       "those above are dropped. 0: no limit."),
	SERVICE(allow, "allow", .doc = "Only clients from these networks are served."),
	SERVICE(deny, "deny", .doc = "Clients from these networks are refused, even if allowed "
				     "above."),
	SERVICE(accept_proxy_from, "accept-proxy-from",
		.doc = "Balancers in these networks must send a PROXY header (version 1 or 2); the "
		       "client is the one that it names. From elsewhere it is not understood."),
	SERVICE(send_proxy, "send-proxy", .words = send_proxies, .preset = "off",
		.doc = "Tells the server the client's address with a PROXY header, version 1 or "
		       "2. console: for the service in front of Steelyard's own console, which "
		       "believes nobody else."),
	SERVICE(outbound_snat, "outbound-snat", .preset = "off",
		.doc = "on: what the servers connect to by themselves, with this machine as their way, "
		       "sees the service's address instead of theirs. It needs manage-routing on."),
	SERVICE(splice, "splice", .preset = "on",
		.doc = "on: a transfer of many full buffers over plain TCP goes from socket to socket "
		       "without being copied (splice), until there is less of it. off: every byte is "
		       "copied; for a kernel or network driver whose splice loses some."),
	SERVICE(role, "role", .words = lint_roles, .preset = "none",
		.doc = "What the service is for, so that settings that do not suit it are found when the "
		       "file is loaded; traffic is not touched by it."),
	SERVICE(names, "names",
		.doc = "Names that clients know the service by; it is a finding when no certificate "
		       "of its listeners holds one of them."),
	SY_ROW_END
};

const struct rows_other service_others[] = {
	{ "listen", "ADDRESS:PORT[-PORT][/udp] ... [{ tls { ... } }]",
	  "Addresses and ports that clients connect to; may be repeated. `*' stands for all IPv4 "
	  "addresses, `[::]' for all of IPv6. The ports beyond the first are extra ports: the "
	  "server is "
	  "asked on the same one unless a port is set for it." },
	{ "protocol", "NAME [{ ... }]", "Module that understands what is said; tcp when not "
					"given." },
	{ "pool", "NAME [port=N] [{ tls { ... } }]", "The servers." },
	{ "sorry-pool", "NAME [port=N]", "Servers to use while the service is down." },
	{ "scheduler", "NAME [{ ... }]",
	  "Module that chooses a server; least-connections when not given." },
	{ "persistence", "NAME [{ ... }] | off", "Module that keeps a client with its server." },
	{ "monitor", "NAME [{ ... }] | off",
	  "Module that checks servers; may be repeated. Without one all servers count as up." },
	{ "snat", "on | off | ADDRESS ...",
	  "on: servers see an address of this machine. off, transparency: servers see the "
	  "client's own, "
	  "and must send their answers through this machine. Addresses: servers see these, in "
	  "turn." },
	{ "lint", "[NAME] off", "Switches findings about this service off, all or that one: idle, snat, "
	  "edge-ports, mixed-edge, web-mapping, web-check, pseudo-tls, certificate, edge-address, "
	  "persistence." },
	{ NULL, NULL, NULL }
};

#define MONITOR(field, label, ...) SY_ROW(struct monitor_conf, settings.field, label, __VA_ARGS__)

const struct sy_row monitor_rows[] = {
	MONITOR(interval, "interval", .min = 100, .max = SY_DAY, .preset = "5s",
		.doc = "Time from the beginning of one probe to the next."),
	MONITOR(timeout, "timeout", .min = 10, .max = SY_HOUR, .preset = "3s",
		SY_GIVEN(struct monitor_conf, timeout_given),
		.doc = "How long a probe may take; never longer than the interval."),
	MONITOR(fast_interval, "fast-interval", .max = SY_HOUR, .preset = "1s",
		SY_GIVEN(struct monitor_conf, fast_given),
		.doc = "Used instead of the interval after a probe that changed the picture, "
		       "until the "
		       "server's state is settled; 0: the interval."),
	MONITOR(rise, "rise", .min = 1, .max = 1000, .preset = "2",
		.doc = "Good probes in a row until a server that was down is up."),
	MONITOR(fall, "fall", .min = 1, .max = 1000, .preset = "3",
		.doc = "Bad probes in a row until a server that was up is down."),
	MONITOR(port, "port", .min = 1, .max = 65535,
		.doc = "Port to ask, when it is not the one that the service uses."),
	MONITOR(address, "address", .flags = SY_NO_PORT,
		.doc = "Machine to ask instead of the server."),
	MONITOR(pools, "pools",
		.doc = "Pools whose servers are asked, for a service that has several; all of them when not "
		       "given. Servers that no monitor asks count as up."),
	SY_ROW_END
};

static const struct rows_other parser_others[] = {
	{ "include", "PATTERN ...", "Reads other files here, in the order of their names. "
				    "Relative to the "
	  "folder of the file that includes. A pattern (* ? [) may match nothing; a plain name "
	  "must be "
	  "there." },
	{ "set", "$NAME VALUE ...", "A variable: from there on $NAME or ${NAME} stands for the "
				    "value, also "
	  "inside words and double quotes. Several values become several words." },
	{ "for-each", "$NAME in VALUE ... { ... }", "Reads the block once for each value." },
	{ "when", "VALUE in|not-in VALUE ... { ... } | $NAME given|missing { ... }",
	  "Reads the block if the first value, or one of those that the variable has, is among the "
	  "others, or is not; or if the variable has a value at all, or none." },
	{ "template", "NAME { parameter NAME [among VALUE ...] [default VALUE ...]; ... }",
	  "Statements to be used later; parameters are variables in them. A parameter may be left out "
	  "when it has a default, even one of no value, and takes only what is named after among." },
	{ "deploy", "NAME { PARAMETER VALUE ...; ... }",
	  "Uses a template. A parameter can also be given as a block of statements, which the "
	  "template "
	  "puts in with $NAME; as a statement." },
	{ NULL, NULL, NULL }
};

const struct core_block core_blocks[] = {
	{ "", "", "Statements outside of blocks.", main_rows, main_others },
	{ "log", "TARGET", "Settings on the line of the log.", log_rows, NULL },
	{ "control", "PATH", "Settings on the line of the control socket.", control_rows, NULL },
	{ "tables", "",
	  "How much the memory that all processes share has room for. The first start decides; a "
	  "reload "
	  "that needs more is refused. Numbers are rounded up to a power of two; 0 leaves room "
	  "for four "
	  "times of what is configured. Memory is taken only as it is used.", tables_rows, NULL },
	{ "console", "", "The web page and the API over TCP.", console_rows, console_others },
	{ "notify", "", "Who is told when a service or a server changes state: see NOTIFICATIONS.",
	  notify_rows, NULL },
	{ "exchange-log", "",
	  "Which connections, flows and exchanges have a line in the log when they end, and what it "
	  "looks like. Without log-connections none has.", exchange_log_rows, NULL },
	{ "recorder", "",
	  "The flight recorder keeps in memory what each process has logged and what has ended there "
	  "lately; steelyardctl recorder shows it. Here: where it is written to when a process dies "
	  "or a server changes state.", recorder_rows, NULL },
	{ "pool", "NAME", "Real servers that can stand in for each other.", pool_rows,
	  pool_others },
	{ "server", "NAME ADDRESS", "Settings on the line of a server, in a pool.", server_rows,
	  NULL },
	{ "virtual-service", "NAME", "What clients connect to.", service_rows, service_others },
	{ "pool", "NAME", "Settings on the line of a pool or sorry-pool, in a virtual-service.",
	  target_rows, target_others },
	{ "listen", "ADDRESS:PORT", "What a listen statement of a virtual-service may have in its block.",
	  NULL, listen_others },
	{ "tls", "", "In a listen statement of a virtual-service: clients speak TLS, which ends here.",
	  tls_server_rows, tls_others },
	{ "tls", "", "In a pool, or in the pool statement of a virtual-service: TLS to the servers.",
	  tls_client_rows, tls_others },
	{ "certificate", "NAME", "A certificate and its key, in a tls block.", certificate_rows, NULL },
	{ "monitor", "NAME", "What every monitor understands, besides the module's own.",
	  monitor_rows, NULL },
	{ "include, set, for-each, when, template, deploy", "",
	  "Carried out while the file is read; include, for-each and when may stand in any block.", NULL,
	  parser_others },
	{ NULL, NULL, NULL, NULL, NULL }
};

const char *
core_rows_home(const char *directive)
{
	for (const struct core_block *block = core_blocks; block->doc; block++) {
		for (const struct sy_row *row = block->rows; row && row->name; row++)
			if (strcmp(row->name, directive) == 0)
				return block->name;
		for (const struct rows_other *other = block->others; other && other->name; other++)
			if (strcmp(other->name, directive) == 0)
				return block->name;
	}
	return NULL;
}
