#include "book.h"

#include <stdlib.h>

#include "value.h"

_Static_assert(COUNT_REFUSED + 1 == SY_COUNTERS, "as many as there can be");

const struct sy_figure book_gauges[] = {
	[GAUGE_REGISTRATIONS] = { "registrations", "Users registered over connections that are open." },
	[GAUGE_TRANSACTIONS] = { "transactions", "Requests without final answer, both ways." },
	[GAUGE_DIALOGS] = { "dialogs", "Calls that are set up and not ended." },
	{ NULL, NULL }
};

const struct sy_figure book_counters[] = {
	[COUNT_REGISTER] = { "requests_register", "REGISTER of clients." },
	[COUNT_INVITE] = { "requests_invite", "INVITE of clients." },
	[COUNT_ACK] = { "requests_ack", "ACK of clients." },
	[COUNT_BYE] = { "requests_bye", "BYE of clients." },
	[COUNT_CANCEL] = { "requests_cancel", "CANCEL of clients." },
	[COUNT_OPTIONS] = { "requests_options", "OPTIONS of clients." },
	[COUNT_SUBSCRIBE] = { "requests_subscribe", "SUBSCRIBE of clients." },
	[COUNT_NOTIFY] = { "requests_notify", "NOTIFY and BENOTIFY of clients." },
	[COUNT_MESSAGE] = { "requests_message", "MESSAGE of clients." },
	[COUNT_SERVICE] = { "requests_service", "SERVICE of clients." },
	[COUNT_OTHER] = { "requests_other", "Other requests of clients." },
	[COUNT_SERVER_INVITE] = { "server_requests_invite",
		"INVITE that servers sent to clients." },
	[COUNT_SERVER_BYE] = { "server_requests_bye", "BYE that servers sent to clients." },
	[COUNT_SERVER_NOTIFY] = { "server_requests_notify",
		"NOTIFY and BENOTIFY that servers sent to clients." },
	[COUNT_SERVER_MESSAGE] = { "server_requests_message",
		"MESSAGE that servers sent to clients." },
	[COUNT_SERVER_OTHER] = { "server_requests_other",
		"Other requests that servers sent to clients." },
	[COUNT_1XX] = { "answers_1xx", "Provisional answers of servers." },
	[COUNT_2XX] = { "answers_2xx", "Answers of servers with a status 200 to 299." },
	[COUNT_3XX] = { "answers_3xx", "Answers of servers with a status 300 to 399." },
	[COUNT_4XX] = { "answers_4xx", "Answers of servers with a status 400 to 499." },
	[COUNT_5XX] = { "answers_5xx", "Answers of servers with a status 500 to 599." },
	[COUNT_6XX] = { "answers_6xx", "Answers of servers with a status 600 to 699." },
	[COUNT_CHALLENGES] = { "challenges", "Answers of servers with status 401 or 407." },
	[COUNT_CLIENT_2XX] = { "client_answers_2xx",
		"Answers of clients with a status 200 to 299." },
	[COUNT_CLIENT_FAILURES] = { "client_answers_failure",
		"Answers of clients with a status from 300 on." },
	[COUNT_FIRST_ANSWERS] = { "first_answers", "Requests of clients that had a first answer." },
	[COUNT_FIRST_ANSWER_MS] = { "first_answer_ms",
		"Milliseconds to the first answer, summed; divided by first_answers it is the mean." },
	[COUNT_FINAL_ANSWERS] = { "final_answers", "Requests of clients that had a final answer." },
	[COUNT_FINAL_ANSWER_MS] = { "final_answer_ms",
		"Milliseconds to the final answer, summed; divided by final_answers it is the mean." },
	[COUNT_UNANSWERED] = { "unanswered",
		"Requests of clients that had no final answer in time." },
	[COUNT_KEEPALIVES] = { "keepalives", "Empty lines of clients between messages." },
	[COUNT_REFUSED] = { "refused",
		"Connections closed and datagrams dropped that were not good SIP." },
	{ NULL, NULL }
};

enum book_kind { BOOK_FREE, BOOK_REQUEST, BOOK_ASKED, BOOK_REGISTRATION, BOOK_DIALOG };

struct book_entry {
	uint64_t key;
	uint64_t due_ms;
	uint32_t began_ms;        /* the lower bits are enough: what is longer ago is not here any more */
	uint8_t kind;             /* enum book_kind */
	bool answered;
	bool leaves;              /* a REGISTER that ends a registration */
	uint8_t slot;             /* in book.held, from 1 on; 0: at no server that is known */
};

/* ---- keys ---- */

enum { BOOK_SEED = 0x2545f491 };

static uint64_t
book_mix(uint64_t key, struct sy_span text)
{
	for (size_t i = 0; i < text.len; i++)
		key = (key ^ text.at[i]) * UINT64_C(0x100000001b3);
	key ^= text.len;
	return (key ^ key >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* The branch names a transaction, if its client follows RFC 3261; the rest does for older ones. */
static uint64_t
book_transaction(const struct sip_message *message)
{
	uint64_t key = book_mix(BOOK_SEED, message->branch);

	key = book_mix(key, message->call_id);
	return book_mix(key, message->method) + message->cseq;
}

/* Tags change places when the other one asks. */
static uint64_t
book_dialog(const struct sip_message *message)
{
	return book_mix(BOOK_SEED, message->call_id) +
	       (book_mix(1, message->from_tag) ^ book_mix(1, message->to_tag));
}

static uint64_t
book_user(const struct sip_message *message)
{
	char aor[256];
	size_t len = sip_uri_aor(sip_uri(message->to), aor, sizeof(aor));

	return book_mix(BOOK_SEED, sy_span(aor, len));
}

/* ---- the table: open addresses, linear probing, no marks for what is gone ---- */

static uint32_t
book_home(const struct book *book, uint64_t key, uint8_t kind)
{
	return (uint32_t)(((key ^ kind) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (book->size - 1);
}

static struct book_entry *
book_find(const struct book *book, enum book_kind kind, uint64_t key)
{
	if (!book->size)
		return NULL;
	for (uint32_t i = book_home(book, key, kind);; i = (i + 1) & (book->size - 1)) {
		struct book_entry *entry = &book->entries[i];

		if (entry->kind == BOOK_FREE)
			return NULL;
		if (entry->kind == kind && entry->key == key)
			return entry;
	}
}

static void
book_put(struct book *book, const struct book_entry *entry)
{
	uint32_t i = book_home(book, entry->key, entry->kind);

	while (book->entries[i].kind != BOOK_FREE)
		i = (i + 1) & (book->size - 1);
	book->entries[i] = *entry;
	book->used++;
}

static bool
book_grow(struct book *book)
{
	struct book bigger = *book;

	if (book->used * 2 < book->size)
		return true;
	if (book->used >= BOOK_MOST)
		return false;
	bigger.used = 0;
	bigger.size = book->size ? book->size * 2 : 8;
	bigger.entries = calloc(bigger.size, sizeof(bigger.entries[0]));
	if (!bigger.entries)
		return false;
	for (uint32_t i = 0; i < book->size; i++)
		if (book->entries[i].kind != BOOK_FREE)
			book_put(&bigger, &book->entries[i]);
	free(book->entries);
	*book = bigger;
	return true;
}

static bool
book_is_quiet(const struct book *book, uint8_t kind)
{
	return book->part == BOOK_STATE && (kind == BOOK_REQUEST || kind == BOOK_ASKED);
}

/* One more, or one fewer. */
static void
book_gauge(struct book *book, struct sy_session *session, const struct book_entry *entry, int change)
{
	enum book_gauge which = entry->kind == BOOK_REGISTRATION ? GAUGE_REGISTRATIONS
	                      : entry->kind == BOOK_DIALOG ? GAUGE_DIALOGS : GAUGE_TRANSACTIONS;

	if (book_is_quiet(book, entry->kind))
		return;
	session->gauge[which] += change;
	if (!entry->slot)
		return;
	book->held[entry->slot - 1].gauge[which] += change;
	session->held_changed = true;
}

static bool
book_slot_is_free(const struct sy_held *held)
{
	return !held->gauge[GAUGE_REGISTRATIONS] && !held->gauge[GAUGE_DIALOGS];
}

/* Where a registration or a dialog of mode proxy is: at the server that has just answered. */
static uint8_t
book_slot(struct book *book, struct sy_session *session, enum book_kind kind)
{
	uint8_t slot = 0;

	if (book->part != BOOK_STATE || !book->at || book_is_quiet(book, (uint8_t)kind))
		return 0;
	if (!book->held) {
		book->held = calloc(BOOK_SERVERS, sizeof(book->held[0]));
		if (!book->held)
			return 0;
		session->held = book->held;
		session->n_held = BOOK_SERVERS;
	}
	for (uint8_t i = 0; i < BOOK_SERVERS; i++) {
		if (book->held[i].server == book->at)
			return i + 1;
		if (!slot && book_slot_is_free(&book->held[i]))
			slot = i + 1;
	}
	if (slot)
		book->held[slot - 1].server = book->at;
	return slot;
}

/* The entry, a new one if there was none; NULL: there is no room. */
static struct book_entry *
book_add(struct book *book, struct sy_session *session, enum book_kind kind, uint64_t key,
         uint64_t life_ms)
{
	struct book_entry *entry = book_find(book, kind, key);

	if (!entry) {
		struct book_entry fresh = {
			.key = key, .kind = kind, .began_ms = (uint32_t)session->now_ms,
			.slot = book_slot(book, session, kind),
		};

		if (!book_grow(book))
			return NULL;
		book_put(book, &fresh);
		book_gauge(book, session, &fresh, 1);
		entry = book_find(book, kind, key);
	} else if (book->at && book_slot(book, session, kind) != entry->slot) {
		book_gauge(book, session, entry, -1);
		entry->slot = book_slot(book, session, kind);
		book_gauge(book, session, entry, 1);
	}
	entry->due_ms = session->now_ms + life_ms;
	return entry;
}

static void
book_close(struct book *book)
{
	free(book->entries);
	book->entries = NULL;
	book->size = book->used = 0;
}

/* Those behind it that would not be found any more move up. */
static void
book_remove(struct book *book, struct sy_session *session, struct book_entry *entry)
{
	uint32_t mask = book->size - 1, hole = (uint32_t)(entry - book->entries);

	book_gauge(book, session, entry, -1);
	for (uint32_t i = (hole + 1) & mask; book->entries[i].kind != BOOK_FREE; i = (i + 1) & mask) {
		uint32_t home = book_home(book, book->entries[i].key, book->entries[i].kind);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			book->entries[hole] = book->entries[i];
			hole = i;
		}
	}
	book->entries[hole].kind = BOOK_FREE;
	if (--book->used == 0)
		book_close(book);
}

void
book_free(struct book *book)
{
	book_close(book);
	free(book->held);
	book->held = NULL;
}

void
book_sweep(struct book *book, struct sy_session *session)
{
	if (!book->size || session->now_ms < book->sweep_ms)
		return;
	book->sweep_ms = session->now_ms + BOOK_SWEEP_MS;
	for (uint32_t i = 0; i < book->size;) {
		struct book_entry *entry = &book->entries[i];

		if (entry->kind == BOOK_FREE || entry->due_ms > session->now_ms) {
			i++;
			continue;
		}
		if (entry->kind == BOOK_REQUEST && !book_is_quiet(book, BOOK_REQUEST))
			sy_count(session, COUNT_UNANSWERED, 1);
		book_remove(book, session, entry); /* another one may stand here now */
	}
}

/* ---- messages ---- */

static const struct {
	const char *method;
	enum book_count client, server;
} methods[] = {
	{ "REGISTER", COUNT_REGISTER, COUNT_SERVER_OTHER },
	{ "INVITE", COUNT_INVITE, COUNT_SERVER_INVITE },
	{ "ACK", COUNT_ACK, COUNT_SERVER_OTHER },
	{ "BYE", COUNT_BYE, COUNT_SERVER_BYE },
	{ "CANCEL", COUNT_CANCEL, COUNT_SERVER_OTHER },
	{ "OPTIONS", COUNT_OPTIONS, COUNT_SERVER_OTHER },
	{ "SUBSCRIBE", COUNT_SUBSCRIBE, COUNT_SERVER_OTHER },
	{ "NOTIFY", COUNT_NOTIFY, COUNT_SERVER_NOTIFY },
	{ "BENOTIFY", COUNT_NOTIFY, COUNT_SERVER_NOTIFY },
	{ "MESSAGE", COUNT_MESSAGE, COUNT_SERVER_MESSAGE },
	{ "SERVICE", COUNT_SERVICE, COUNT_SERVER_OTHER },
};

static void
book_count(struct sy_session *session, enum sy_side side, const struct sip_message *message)
{
	unsigned i = 0, class = message->status / 100;

	if (!message->request && side == SY_SERVER) {
		sy_count(session, COUNT_1XX + class - 1, 1);
		if (message->status == 401 || message->status == 407)
			sy_count(session, COUNT_CHALLENGES, 1);
		return;
	}
	if (!message->request) {
		if (class >= 2)
			sy_count(session, class == 2 ? COUNT_CLIENT_2XX : COUNT_CLIENT_FAILURES, 1);
		return;
	}
	while (i < sizeof(methods) / sizeof(methods[0]) && !sip_method_is(message, methods[i].method))
		i++;
	if (i == sizeof(methods) / sizeof(methods[0]))
		sy_count(session, side == SY_CLIENT ? COUNT_OTHER : COUNT_SERVER_OTHER, 1);
	else
		sy_count(session, side == SY_CLIENT ? methods[i].client : methods[i].server, 1);
}

/* How long a REGISTER or its answer says that it holds, in seconds. */
static uint64_t
book_expires(const struct sip_message *message)
{
	struct sy_span contact = sip_parameter(message->contact, "expires");
	uint64_t seconds;

	if (sip_number(contact, UINT32_MAX, &seconds) ||
	    sip_number(message->expires, UINT32_MAX, &seconds))
		return seconds;
	return BOOK_EXPIRES_S;
}

static void
book_request(struct book *book, struct sy_session *session, enum sy_side side,
             const struct sip_message *message)
{
	struct book_entry *entry;
	bool invite = sip_method_is(message, "INVITE");

	if (sip_method_is(message, "ACK") || sip_method_is(message, "BENOTIFY"))
		return;   /* nobody answers them */
	entry = book_add(book, session, side == SY_CLIENT ? BOOK_REQUEST : BOOK_ASKED,
	                 book_transaction(message), invite ? BOOK_RINGING_MS : BOOK_REQUEST_MS);
	if (entry && sip_method_is(message, "REGISTER"))
		entry->leaves = book_expires(message) == 0;
}

/* What a final answer begins or ends. */
static void
book_outcome(struct book *book, struct sy_session *session, bool leaves,
             const struct sip_message *message)
{
	bool success = message->status >= 200 && message->status < 300;
	struct book_entry *entry = NULL;

	if (sip_method_is(message, "INVITE") && success && message->to_tag.len)
		book_add(book, session, BOOK_DIALOG, book_dialog(message), BOOK_DIALOG_MS);
	else if (sip_method_is(message, "BYE") &&
	         (success || message->status == 408 || message->status == 481))
		entry = book_find(book, BOOK_DIALOG, book_dialog(message));
	else if (sip_method_is(message, "REGISTER") && success && leaves)
		entry = book_find(book, BOOK_REGISTRATION, book_user(message));
	else if (sip_method_is(message, "REGISTER") && success && message->contact.len)
		book_add(book, session, BOOK_REGISTRATION, book_user(message),
		         book_expires(message) * 1000);
	if (entry)
		book_remove(book, session, entry);
}

static void
book_answer(struct book *book, struct sy_session *session, enum sy_side side,
            const struct sip_message *message)
{
	struct book_entry *entry = book_find(book, side == SY_SERVER ? BOOK_REQUEST : BOOK_ASKED,
	                                     book_transaction(message));
	bool final = message->status >= 200, leaves = entry && entry->leaves;

	if (entry && side == SY_SERVER && book->part != BOOK_STATE) {
		uint32_t ms = (uint32_t)session->now_ms - entry->began_ms;

		if (!entry->answered) {
			sy_count(session, COUNT_FIRST_ANSWERS, 1);
			sy_count(session, COUNT_FIRST_ANSWER_MS, ms);
		}
		if (final) {
			sy_count(session, COUNT_FINAL_ANSWERS, 1);
			sy_count(session, COUNT_FINAL_ANSWER_MS, ms);
		}
		entry->answered = true;
	}
	if (entry && final)
		book_remove(book, session, entry);
	else if (entry)
		entry->due_ms = session->now_ms + BOOK_RINGING_MS;
	if (final && book->part != BOOK_TRAFFIC)
		book_outcome(book, session, leaves, message);
}

void
book_message(struct book *book, struct sy_session *session, enum sy_side side,
             const struct sip_message *message)
{
	book_sweep(book, session);
	if (book->part != BOOK_STATE)
		book_count(session, side, message);
	if (message->request)
		book_request(book, session, side, message);
	else
		book_answer(book, session, side, message);
}

uint64_t
book_lasts_ms(const struct sy_session *session, const struct sip_message *message)
{
	uint64_t registered_ms = 0, call_ms = session->gauge[GAUGE_DIALOGS] > 0 ? BOOK_QUIET_MS : 0;

	if (!message->request && message->status / 100 == 2 && sip_method_is(message, "REGISTER"))
		registered_ms = book_expires(message) * 1000;
	if (registered_ms > BOOK_DIALOG_MS)
		registered_ms = BOOK_DIALOG_MS;
	return registered_ms > call_ms ? registered_ms : call_ms;
}
