/* STUN and TURN: allocations are counted and kept together, what is no TURN goes no further. */
#include "turn.h"

#include "api/module.h"

static const char *const turn_kinds[] = { "tls", "http", "sip", "any", NULL };

static const struct sy_row turn_other_rows[] = {
	SY_ROW(struct turn_other, kind, "kind", .words = turn_kinds, .flags = SY_ARGUMENT | SY_REQUIRED,
	       .doc = "What the client speaks: tls (not the hello of Microsoft's TURN, which only looks like "
	              "it), http, sip, or any."),
	SY_ROW(struct turn_other, pool, "pool", .flags = SY_REQUIRED,
	       .doc = "The pool that serves these connections, untouched."),
	SY_ROW_END
};

static const struct sy_row turn_rows[] = {
	SY_ROW(struct turn_conf, unauthenticated_rate, "unauthenticated-rate", .min = 1, .max = 1000000,
	       .preset = "50/s",
	       .doc = "Allocate requests over UDP that one client address may send in a second, from ports "
	              "that have no allocation yet; servers answer with more than was asked, and in the name "
	              "of others anybody could have them flooded."),
	SY_ROW(struct turn_conf, relief, "relief", .max = SY_HOUR, .preset = "5s",
	       .doc = "How long a server gets a quarter of its share of new clients after it refused an "
	              "allocation for its quota, its capacity or by a rule (486, 508, 403); 0: not at all."),
	SY_ROW(struct turn_conf, multiplexed, "multiplexed", .preset = "on",
	       .doc = "Lets the multiplexed datagrams of Microsoft's TURN pass."),
	SY_ROWS_IN(struct turn_conf, other, "other", turn_other_rows, struct turn_other,
	           .doc = "Connections to the same address that are no TURN, and the pool they go to."),
	SY_ROW_END
};

static int
turn_check(void *conf, struct sy_err *err)
{
	struct turn_conf *turn = conf;
	const struct turn_other *other = turn->other.at;

	memset(turn->pool_of, 0, sizeof(turn->pool_of));
	for (uint32_t i = 0; i < turn->other.n; i++) {
		if (turn->pool_of[other[i].kind.index])
			return sy_fail(err, "other: given twice for the same kind of connection");
		turn->pool_of[other[i].kind.index] = other[i].pool.index;
	}
	return 0;
}

static const struct sy_figure turn_gauges[] = {
	[GAUGE_ALLOCATIONS] = { "allocations", "Allocations that live." },
	{ NULL, NULL }
};

static const struct sy_figure turn_counters[] = {
	[COUNT_BINDINGS] = { "bindings", "Binding requests." },
	[COUNT_ALLOCATES] = { "allocate_requests", "Allocate requests." },
	[COUNT_ALLOCATED] = { "allocate_successes", "Allocations that servers made." },
	[COUNT_CHALLENGES] = { "allocate_challenges", "Answers that ask for credentials, or for a new nonce "
	                                              "(401, 438)." },
	[COUNT_REFUSED_QUOTA] = { "allocate_refused_quota", "Refused for the user's quota (486)." },
	[COUNT_REFUSED_CAPACITY] = { "allocate_refused_capacity", "Refused for the server's capacity (508)." },
	[COUNT_REFUSED_FORBIDDEN] = { "allocate_refused_forbidden", "Refused by a rule, or by a server that "
	                                                            "drains (403)." },
	[COUNT_REFUSED_MISMATCH] = { "allocate_refused_mismatch", "Refused because there is one already "
	                                                          "(437)." },
	[COUNT_REFUSED_REDIRECT] = { "allocate_redirected", "Answers that name another server (300)." },
	[COUNT_REFUSED_OTHER] = { "allocate_refused_other", "Refused for other reasons." },
	[COUNT_REFRESHES] = { "refresh_requests", "Refresh requests." },
	[COUNT_REFRESH_FAILURES] = { "refresh_failures", "Refresh requests that were refused, stale nonces "
	                                                 "left aside." },
	[COUNT_RELEASES] = { "releases", "Allocations that clients gave back." },
	[COUNT_EXPIRED] = { "expired", "Allocations that nobody refreshed." },
	[COUNT_PERMISSIONS] = { "permission_requests", "CreatePermission requests." },
	[COUNT_CHANNEL_BINDS] = { "channel_binds", "ChannelBind requests." },
	[COUNT_SENDS] = { "send_indications", "Send indications (Microsoft's: Send requests)." },
	[COUNT_DATAS] = { "data_indications", "Data indications." },
	[COUNT_CHANNEL_UP] = { "channel_packets_up", "ChannelData from clients, and Microsoft's data frames." },
	[COUNT_CHANNEL_DOWN] = { "channel_packets_down", "ChannelData to clients, and Microsoft's data "
	                                                 "frames." },
	[COUNT_RELAYED_UP] = { "relayed_bytes_up", "Bytes for peers, without what wraps them." },
	[COUNT_RELAYED_DOWN] = { "relayed_bytes_down", "Bytes from peers, without what wraps them." },
	[COUNT_MULTIPLEXED] = { "multiplexed_packets", "Multiplexed datagrams of Microsoft's TURN." },
	[COUNT_OTHER] = { "other_connections", "Connections that are no TURN and went to another pool." },
	[COUNT_GARBAGE_LENGTH] = { "garbage_length", "Dropped: longer or shorter than they say." },
	[COUNT_GARBAGE_KIND] = { "garbage_kind", "Dropped: no TURN at all." },
	[COUNT_GARBAGE_ATTRIBUTES] = { "garbage_attributes", "Dropped: attributes that make no sense." },
	[COUNT_GARBAGE_FINGERPRINT] = { "garbage_fingerprint", "Dropped: a wrong fingerprint." },
	[COUNT_GARBAGE_CHANNEL] = { "garbage_channel", "Dropped: ChannelData of a wrong length." },
	[COUNT_GARBAGE_STATE] = { "garbage_state", "Dropped: right by itself, but not at this moment." },
	{ NULL, NULL }
};

_Static_assert(sizeof(turn_counters) / sizeof(turn_counters[0]) <= SY_COUNTERS + 1, "counters");

static const struct sy_protocol turn = {
	.size = sizeof(turn),
	.flags = SY_STREAMS | SY_DATAGRAMS,
	.load_unit = "allocations",
	.gauges = turn_gauges,
	.counters = turn_counters,
	.session_size = sizeof(struct turn_state),
	.window = TURN_CONTROL + MS_FRAME,
	.data = turn_data,
	.packet = turn_packet,
};

SY_MODULE(SY_PROTOCOL, "turn",
	.version = "1.0",
	.summary = "STUN and TURN (RFC 8489, 8656, 6062) and Microsoft's dialect of Lync and Skype for Business, "
	           "over UDP and TCP: a client's allocation keeps its server, what is no TURN is dropped.",
	.conf_size = sizeof(struct turn_conf),
	.rows = turn_rows,
	.check = turn_check,
	.ops = &turn);
