/* Two ICE agents of libnice, as clients of Lync and Skype for Business have them: one reaches the other
 * through a TURN server of Microsoft's dialect only. Prints what it gets:
 *
 *	helper-nice udp|tcp|pseudo-tls HOST PORT
 *	relayed 127.0.0.9:50123
 *	ready
 *	echo */
#include <nice/agent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NICE_LIMIT_S = 40 };

struct nice_side {
	NiceAgent *agent;
	guint stream;
	bool gathered, ready;
};

static GMainLoop *loop;
static struct nice_side relayed, plain;
static int status = 1;
static gboolean over_tcp;

static gboolean
nice_late(gpointer data)
{
	(void)data;
	printf("late: gathered %d %d, ready %d %d\n", relayed.gathered, plain.gathered, relayed.ready,
	       plain.ready);
	g_main_loop_quit(loop);
	return FALSE;
}

static void
nice_introduce(const struct nice_side *from, const struct nice_side *to)
{
	gchar *user = NULL, *password = NULL;
	GSList *candidates = nice_agent_get_local_candidates(from->agent, from->stream, 1);

	nice_agent_get_local_credentials(from->agent, from->stream, &user, &password);
	nice_agent_set_remote_credentials(to->agent, to->stream, user, password);
	nice_agent_set_remote_candidates(to->agent, to->stream, 1, candidates);
	g_slist_free_full(candidates, (GDestroyNotify)nice_candidate_free);
	g_free(user);
	g_free(password);
}

static void
nice_tell_relay(void)
{
	GSList *candidates = nice_agent_get_local_candidates(relayed.agent, relayed.stream, 1);

	for (GSList *at = candidates; at; at = at->next) {
		const NiceCandidate *candidate = at->data;
		gchar text[INET6_ADDRSTRLEN];

		if (candidate->type != NICE_CANDIDATE_TYPE_RELAYED)
			continue;
		nice_address_to_string(&candidate->addr, text);
		printf("relayed %s:%u\n", text, nice_address_get_port(&candidate->addr));
	}
	g_slist_free_full(candidates, (GDestroyNotify)nice_candidate_free);
}

static void
nice_gathered(NiceAgent *agent, guint stream, gpointer data)
{
	(void)stream, (void)data;
	*(agent == relayed.agent ? &relayed.gathered : &plain.gathered) = true;
	if (!relayed.gathered || !plain.gathered)
		return;
	nice_tell_relay();
	nice_introduce(&relayed, &plain);
	nice_introduce(&plain, &relayed);
}

static gboolean
nice_speak(gpointer data)
{
	(void)data;
	nice_agent_send(relayed.agent, relayed.stream, 1, 4, "ping");
	return TRUE;
}

static void
nice_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer data)
{
	(void)stream, (void)component, (void)data;
	if (state != NICE_COMPONENT_STATE_READY)
		return;
	*(agent == relayed.agent ? &relayed.ready : &plain.ready) = true;
	if (!relayed.ready || !plain.ready)
		return;
	printf("ready\n");
	g_timeout_add(200, nice_speak, NULL);
}

static void
nice_heard(NiceAgent *agent, guint stream, guint component, guint len, gchar *bytes, gpointer data)
{
	(void)data;
	if (agent == plain.agent) {
		nice_agent_send(agent, stream, component, len, bytes);
		return;
	}
	if (len != 4 || memcmp(bytes, "ping", 4) != 0)
		return;
	printf("echo\n");
	status = 0;
	g_main_loop_quit(loop);
}

static void
nice_open(struct nice_side *side, bool relay, const char *host)
{
	NiceAddress local;

	side->agent = nice_agent_new(g_main_loop_get_context(loop), NICE_COMPATIBILITY_OC2007R2);
	g_object_set(side->agent, "controlling-mode", side == &relayed, "upnp", FALSE, "force-relay", relay,
	             "ice-tcp", over_tcp, "ice-udp", !over_tcp, NULL);
	nice_address_init(&local);
	nice_address_set_from_string(&local, host);
	nice_agent_add_local_address(side->agent, &local);
	side->stream = nice_agent_add_stream(side->agent, 1);
	g_signal_connect(side->agent, "candidate-gathering-done", G_CALLBACK(nice_gathered), NULL);
	g_signal_connect(side->agent, "component-state-changed", G_CALLBACK(nice_state), NULL);
	nice_agent_attach_recv(side->agent, side->stream, 1, g_main_loop_get_context(loop), nice_heard,
	                       NULL);
}

int
main(int argc, char **argv)
{
	NiceRelayType type;
	gchar *user = g_base64_encode((const guchar *)"lab-user", 8);
	gchar *password = g_base64_encode((const guchar *)"lab-password", 12);

	if (argc != 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	type = strcmp(argv[1], "udp") == 0 ? NICE_RELAY_TYPE_TURN_UDP :
	       strcmp(argv[1], "tcp") == 0 ? NICE_RELAY_TYPE_TURN_TCP : NICE_RELAY_TYPE_TURN_TLS;
	over_tcp = type != NICE_RELAY_TYPE_TURN_UDP;
	loop = g_main_loop_new(NULL, FALSE);
	nice_open(&relayed, true, "127.0.0.1");
	nice_open(&plain, over_tcp, "127.0.0.1");
	nice_agent_set_relay_info(relayed.agent, relayed.stream, 1, argv[2], (guint)atoi(argv[3]), user,
	                          password, type);
	/* What goes through a relay over TCP is for another relay. */
	if (over_tcp)
		nice_agent_set_relay_info(plain.agent, plain.stream, 1, argv[2], (guint)atoi(argv[3]),
		                          user, password, type);
	nice_agent_gather_candidates(relayed.agent, relayed.stream);
	nice_agent_gather_candidates(plain.agent, plain.stream);
	g_timeout_add_seconds(NICE_LIMIT_S, nice_late, NULL);
	g_main_loop_run(loop);
	return status;
}
