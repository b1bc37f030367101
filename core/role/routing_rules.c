#include "config.h"
#include <errno.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "base/library.h"
#include "base/log.h"
#include "role/routing.h"

#define RULES_TABLE "inet steelyard-%" PRIu32

static void
rules_set(const struct routing_plan *plan, unsigned family, struct text *out)
{
	char text[ADDR_TEXT_SIZE];
	bool first = true;

	text_printf(out, "\tset transparent%u {\n\t\ttype ipv%u_addr\n", family, family);
	for (size_t i = 0; i < plan->n; i++) {
		const struct gen_route *route = &plan->routes[i];

		if (!route->transparent || route->server.family != family)
			continue;
		text_printf(out, "%s%s", first ? "\t\telements = { " : ", ", addr_ip_text(&route->server, text));
		first = false;
	}
	text_printf(out, "%s\t}\n", first ? "" : " }\n");
}

static void
rules_map(const struct routing_plan *plan, unsigned family, struct text *out)
{
	char server[ADDR_TEXT_SIZE], source[ADDR_TEXT_SIZE];
	bool first = true;

	text_printf(out, "\tmap outbound%u {\n\t\ttype ipv%u_addr : ipv%u_addr\n", family, family, family);
	for (size_t i = 0; i < plan->n; i++) {
		const struct gen_route *route = &plan->routes[i];

		if (route->source.family != family)
			continue;
		text_printf(out, "%s%s : %s", first ? "\t\telements = { " : ", ",
		            addr_ip_text(&route->server, server), addr_ip_text(&route->source, source));
		first = false;
	}
	text_printf(out, "%s\t}\n", first ? "" : " }\n");
}

static bool
rules_any_outbound(const struct routing_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->routes[i].source.family != SY_NO_ADDR)
			return true;
	return false;
}

/* In one transaction: there is no moment without rules. A chain that translates addresses makes the
 * kernel follow every connection of this machine, so it is there only when it is wanted. What has no
 * interface that it came in by is ours, and keeps its address. */
void
rules_text(const struct routing_plan *plan, struct text *out)
{
	uint32_t mark = plan->table;

	text_printf(out, "add table " RULES_TABLE "\ndelete table " RULES_TABLE "\ntable " RULES_TABLE " {\n"
	            "\tcomment \"made by steelyardd (manage-routing), which replaces and removes it\"\n",
	            plan->table, plan->table, plan->table);
	rules_set(plan, SY_IPV4, out);
	rules_set(plan, SY_IPV6, out);
	text_printf(out,
	            "\tchain answers {\n"
	            "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
	            "\t\tip saddr @transparent4 meta l4proto { tcp, udp } socket transparent 1"
	            " meta mark set %" PRIu32 "\n"
	            "\t\tip6 saddr @transparent6 meta l4proto { tcp, udp } socket transparent 1"
	            " meta mark set %" PRIu32 "\n"
	            "\t}\n", mark, mark);
	if (rules_any_outbound(plan)) {
		rules_map(plan, SY_IPV4, out);
		rules_map(plan, SY_IPV6, out);
		text_puts(out,
		          "\tchain outbound {\n"
		          "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		          "\t\tiif != 0 snat ip to ip saddr map @outbound4\n"
		          "\t\tiif != 0 snat ip6 to ip6 saddr map @outbound6\n"
		          "\t}\n");
	}
	text_puts(out, "}\n");
}

/* libnftables. */
static struct {
	__typeof__(nft_ctx_new) *new;
	__typeof__(nft_ctx_free) *free;
	__typeof__(nft_ctx_buffer_output) *buffer_output;
	__typeof__(nft_ctx_buffer_error) *buffer_error;
	__typeof__(nft_ctx_get_error_buffer) *get_error_buffer;
	__typeof__(nft_run_cmd_from_buffer) *run_cmd_from_buffer;
} rules_nft;

int
rules_load(struct sy_err *err)
{
	static const struct library_call calls[] = {
		{ "nft_ctx_new", &rules_nft.new },
		{ "nft_ctx_free", &rules_nft.free },
		{ "nft_ctx_buffer_output", &rules_nft.buffer_output },
		{ "nft_ctx_buffer_error", &rules_nft.buffer_error },
		{ "nft_ctx_get_error_buffer", &rules_nft.get_error_buffer },
		{ "nft_run_cmd_from_buffer", &rules_nft.run_cmd_from_buffer },
		{ NULL, NULL },
	};

	return rules_nft.new ? 0 : library_load(NFTABLES_SONAME, "this role", calls, err);
}

int
rules_run(const char *commands, struct sy_err *err)
{
	struct nft_ctx *nft;
	const char *said;
	int failed;

	if (rules_load(err) != 0)
		return -1;
	nft = rules_nft.new(NFT_CTX_DEFAULT);
	if (!nft)
		return sy_fail(err, "nftables cannot be used: %s", strerror(errno));
	rules_nft.buffer_output(nft);
	rules_nft.buffer_error(nft);
	failed = rules_nft.run_cmd_from_buffer(nft, commands);
	said = rules_nft.get_error_buffer(nft);
	if (failed)
		sy_fail(err, "nftables: %.*s", said ? (int)strcspn(said, "\n") : 0, said ? said : "");
	rules_nft.free(nft);
	return failed ? -1 : 0;
}

bool
rules_are_there(uint32_t table)
{
	char commands[80];
	struct sy_err err;

	snprintf(commands, sizeof(commands), "list table " RULES_TABLE "\n", table);
	return rules_run(commands, &err) == 0;
}

int
rules_remove(uint32_t table, struct sy_err *err)
{
	char commands[160];

	snprintf(commands, sizeof(commands), "add table " RULES_TABLE "\ndelete table " RULES_TABLE "\n", table,
	         table);
	return rules_run(commands, err);
}
