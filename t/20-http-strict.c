/* What protocol http takes for a request, and for an answer, and what not: one row for each thing that
 * two readers could understand differently. Each is said at once and byte by byte, with the same end. */
#include "module.h"

#include "http.h"

#define END "\r\n\r\n"
#define TWO_FIELDS "Host: a\r\nContent-Length: 2\r\nContent-Length: "

struct row {
	const char *name;
	int status;               /* 0: it goes to a server */
	const char *bytes;
	size_t len;               /* 0: as long as the string */
};

static const struct row requests[] = {
	/* The strict column of WIRE.md 5.2. */
	{ "a length and a coding", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
	  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0 },
	{ "a coding and a length", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
	  "Content-Length: 5\r\n\r\n0\r\n\r\n", 0 },
	{ "two equal lengths", 400, "POST / HTTP/1.1\r\n" TWO_FIELDS "2" END "ab", 0 },
	{ "two lengths in one field", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2" END "ab", 0 },
	{ "two different lengths", 400, "POST / HTTP/1.1\r\n" TWO_FIELDS "3" END "ab", 0 },
	{ "a length with a sign", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2" END "ab", 0 },
	{ "a negative length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -2" END "ab", 0 },
	{ "a hexadecimal length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2" END "ab", 0 },
	{ "an empty length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " END "ab", 0 },
	{ "a length with a blank in it", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2" END "ab", 0 },
	{ "a length that wraps", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618"
	  END "ab", 0 },
	{ "a length beyond 63 bits", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808"
	  END, 0 },
	{ "the coding gzip, chunked", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked"
	  END "0" END, 0 },
	{ "the coding chunked, chunked", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked"
	  END "0" END, 0 },
	{ "the coding identity", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity" END, 0 },
	{ "the coding xchunked", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked" END, 0 },
	{ "an empty coding", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:" END, 0 },
	{ "the coding twice", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
	  "Transfer-Encoding: chunked" END "0" END, 0 },
	{ "a vertical tab before the coding", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \vchunked"
	  END "0" END, 0 },
	{ "a coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked" END "0" END, 0 },
	{ "a blank before the colon", 400, "GET / HTTP/1.1\r\nHost : a" END, 0 },
	{ "a tab before the colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\t: b" END, 0 },
	{ "a folded field", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c" END, 0 },
	{ "a field folded by a tab", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc" END, 0 },
	{ "lines that end with LF alone", 400, "GET / HTTP/1.1\nHost: a\n\n", 0 },
	{ "one line that ends with LF alone", 400, "GET / HTTP/1.1\r\nHost: a\nX: b" END, 0 },
	{ "an end of LF alone", 400, "GET / HTTP/1.1\r\nHost: a\r\n\n", 0 },
	{ "CR in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc" END, 0 },
	{ "CR CR LF", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n", 0 },
	{ "NUL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c" END, 35 },
	{ "NUL in a name", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: b" END, 35 },
	{ "NUL in the target", 400, "GET /\0 HTTP/1.1\r\nHost: a" END, 28 },
	{ "DEL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f" "c" END, 0 },
	{ "no Host", 400, "GET / HTTP/1.1\r\nX: b" END, 0 },
	{ "two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b" END, 0 },
	{ "two equal Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a" END, 0 },
	{ "a blank before the first field", 400, "GET / HTTP/1.1\r\n Host: a" END, 0 },
	{ "a chunk size of 0x1", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "0x1\r\na\r\n0" END, 0 },
	{ "LF behind a chunk extension", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1;a\na\r\n0" END, 0 },
	/* Lines and words. */
	{ "no version", 400, "GET /" END, 0 },
	{ "HTTP/0.9", 505, "GET / HTTP/0.9\r\nHost: a" END, 0 },
	{ "HTTP/1.2", 505, "GET / HTTP/1.2\r\nHost: a" END, 0 },
	{ "HTTP/2.0", 505, "GET / HTTP/2.0\r\nHost: a" END, 0 },
	{ "HTTP/11", 400, "GET / HTTP/11\r\nHost: a" END, 0 },
	{ "HTTP/1.1x", 400, "GET / HTTP/1.1x\r\nHost: a" END, 0 },
	{ "http/1.1", 400, "GET / http/1.1\r\nHost: a" END, 0 },
	{ "HTTP/1.01", 400, "GET / HTTP/1.01\r\nHost: a" END, 0 },
	{ "two blanks between words", 400, "GET  / HTTP/1.1\r\nHost: a" END, 0 },
	{ "two blanks before the version", 400, "GET /  HTTP/1.1\r\nHost: a" END, 0 },
	{ "a tab between words", 400, "GET\t/ HTTP/1.1\r\nHost: a" END, 0 },
	{ "a blank behind the version", 400, "GET / HTTP/1.1 \r\nHost: a" END, 0 },
	{ "a blank in the target", 400, "GET /a b HTTP/1.1\r\nHost: a" END, 0 },
	{ "a blank before the method", 400, " GET / HTTP/1.1\r\nHost: a" END, 0 },
	{ "a method that is no token", 400, "G(T / HTTP/1.1\r\nHost: a" END, 0 },
	{ "a method without end", 400, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a" END, 0 },
	{ "TLS", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11 },
	{ "the preface of HTTP/2", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0 },
	{ "CONNECT", 405, "CONNECT a:443 HTTP/1.1\r\nHost: a:443" END, 0 },
	{ "a fragment", 400, "GET /a#b HTTP/1.1\r\nHost: a" END, 0 },
	{ "a target beyond ASCII", 400, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a" END, 0 },
	{ "* for GET", 400, "GET * HTTP/1.1\r\nHost: a" END, 0 },
	{ "a target that is no path", 400, "GET a HTTP/1.1\r\nHost: a" END, 0 },
	{ "a target of another kind", 400, "GET ftp://a/ HTTP/1.1\r\nHost: a" END, 0 },
	{ "an absolute target without host", 400, "GET http:///x HTTP/1.1\r\nHost: a" END, 0 },
	{ "an absolute target with a user", 400, "GET http://u@a/ HTTP/1.1\r\nHost: a" END, 0 },
	{ "a Host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b" END, 0 },
	{ "a Host with a blank", 400, "GET / HTTP/1.1\r\nHost: a b" END, 0 },
	{ "two hosts in one field", 400, "GET / HTTP/1.1\r\nHost: a,b" END, 0 },
	{ "a Host with a user", 400, "GET / HTTP/1.1\r\nHost: u@a" END, 0 },
	{ "an empty Host", 400, "GET / HTTP/1.1\r\nHost:" END, 0 },
	{ "no colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX" END, 0 },
	{ "an empty name", 400, "GET / HTTP/1.1\r\nHost: a\r\n: b" END, 0 },
	{ "a name with a blank", 400, "GET / HTTP/1.1\r\nHost: a\r\nX Y: b" END, 0 },
	{ "a name with a bracket", 400, "GET / HTTP/1.1\r\nHost: a\r\nX(: b" END, 0 },
	{ "a name beyond ASCII", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b" END, 0 },
	{ "Expect of something else", 417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok" END, 0 },
	/* Chunks. */
	{ "a chunk without size", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "\r\n", 0 },
	{ "a chunk with a sign", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "+1\r\na\r\n", 0 },
	{ "a blank before a size", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END " 1\r\na\r\n", 0 },
	{ "a blank behind a size", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "1 \r\na\r\n", 0 },
	{ "a size of 17 digits", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "00000000000000001\r\na\r\n", 0 },
	{ "a size that wraps", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "ffffffffffffffff\r\na\r\n", 0 },
	{ "a chunk longer than its size", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1\r\nab\r\n0" END, 0 },
	{ "a chunk that ends with LF", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1\r\na\n0" END, 0 },
	{ "CR alone in a size line", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1\r\ra\r\n0" END, 0 },
	{ "NUL in an extension", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1;\0\r\na\r\n0" END, 70 },
	{ "a trailer that is a length", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "0\r\nContent-Length: 5" END, 0 },
	{ "a trailer that is a Host", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "0\r\nHost: b" END, 0 },
	{ "a trailer without colon", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "0\r\nX" END, 0 },
	{ "a folded trailer", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "0\r\nX: a\r\n b" END, 0 },
	{ "five empty lines", 400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a" END, 0 },
	/* What is as it should be. */
	{ "the least", 0, "GET / HTTP/1.1\r\nHost: a" END, 0 },
	{ "no Host in HTTP/1.0", 0, "GET / HTTP/1.0" END, 0 },
	{ "an empty line before it", 0, "\r\nGET / HTTP/1.1\r\nHost: a" END, 0 },
	{ "a length", 0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2" END "ab", 0 },
	{ "a length with zeros", 0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0002" END "ab", 0 },
	{ "a length with blanks around it", 0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t2 " END "ab", 0 },
	{ "chunks", 0, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "1\r\na\r\n0" END, 0 },
	{ "chunks in other letters", 0, "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: Chunked" END
	  "A\r\n0123456789\r\n00" END, 0 },
	{ "chunks with extensions", 0, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1;a=b;c=\"d\"\r\na\r\n0;e" END, 0 },
	{ "chunks with trailers", 0, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END
	  "1\r\na\r\n0\r\nX-Sum: 1\r\nY: 2" END, 0 },
	{ "an absolute target", 0, "GET http://a/b?c HTTP/1.1\r\nHost: a" END, 0 },
	{ "OPTIONS *", 0, "OPTIONS * HTTP/1.1\r\nHost: a" END, 0 },
	{ "a method that nobody knows", 0, "RPC_IN_DATA /rpc/rpcproxy.dll?a:6001 HTTP/1.1\r\nHost: a\r\n"
	  "Content-Length: 1073741824" END, 0 },
	{ "an IPv6 host", 0, "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443" END, 0 },
	{ "a value beyond ASCII", 0, "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\t\xff" END, 0 },
	{ "an empty value", 0, "GET / HTTP/1.1\r\nHost: a\r\nX:" END, 0 },
	{ "no blank behind the colon", 0, "GET / HTTP/1.1\r\nHost:a" END, 0 },
	{ "Expect of 100-continue", 0, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue"
	  END "a", 0 },
};

/* Answers to GET; 0: the client gets it. */
static const struct row answers[] = {
	{ "no HTTP", 502, "SSH-2.0-x\r\n", 0 },
	{ "HTTP/2", 502, "HTTP/2.0 200 OK" END, 0 },
	{ "no status", 502, "HTTP/1.1 OK" END, 0 },
	{ "a status of two digits", 502, "HTTP/1.1 20 OK\r\nContent-Length: 0" END, 0 },
	{ "a status of 0xx", 502, "HTTP/1.1 020 OK\r\nContent-Length: 0" END, 0 },
	{ "two lengths", 502, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1" END "a", 0 },
	{ "a length and a coding", 502, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"
	  END "0" END, 0 },
	{ "another coding", 502, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip" END "a", 0 },
	{ "a coding in HTTP/1.0", 502, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked" END "0" END, 0 },
	{ "a folded field", 502, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0" END, 0 },
	{ "LF alone", 502, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 0 },
	{ "CR in a value", 502, "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0" END, 0 },
	{ "NUL in a value", 502, "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0" END, 46 },
	{ "a blank before the colon", 502, "HTTP/1.1 200 OK\r\nContent-Length : 0" END, 0 },
	{ "101 that nobody asked for", 502, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade" END, 0 },
	{ "the least", 0, "HTTP/1.1 200 OK\r\nContent-Length: 0" END, 0 },
	{ "no phrase", 0, "HTTP/1.1 200\r\nContent-Length: 0" END, 0 },
	{ "an empty phrase", 0, "HTTP/1.1 200 \r\nContent-Length: 0" END, 0 },
	{ "204", 0, "HTTP/1.1 204 No Content" END, 0 },
	{ "304 with a length", 0, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99" END, 0 },
	{ "chunks", 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" END "3\r\nabc\r\n0" END, 0 },
	{ "103 before it", 0, "HTTP/1.1 103 Early Hints\r\nLink: a" END "HTTP/1.1 200 OK\r\nContent-Length: 1"
	  END "a", 0 },
};

static int
status_of(const struct play *play)
{
	return play->heard_len[SY_CLIENT] > 12 ? atoi(play->heard[SY_CLIENT] + 9) : 0;
}

static size_t
length_of(const struct row *row)
{
	return row->len ? row->len : strlen(row->bytes);
}

static void
try_request(const struct used *used, const struct row *row, bool slowly)
{
	struct play play;
	bool good;

	play_open(&play, used->module, used->conf);
	play_tell(&play, SY_CLIENT, row->bytes, length_of(row), slowly);
	good = row->status ? play.closed && play.reason && status_of(&play) == row->status
	                   : !play.closed && play.routes == 1 && !play.heard_len[SY_CLIENT];
	ok(good && !play.broken, "%s: %s%s", row->name, row->status ? "refused" : "passes",
	   slowly ? ", byte by byte" : "");
	if (!good || play.broken)
		printf("# status %d, want %d; %u routes; %s; %s\n", status_of(&play), row->status, play.routes,
		       play.reason ? play.reason : "no reason", play.broken ? play.broken : "");
	/* Nothing of what is refused for its head reaches a server. */
	if (row->status && !strstr(row->bytes, "chunked" END))
		ok(play.routes == 0, "%s: no server is asked", row->name);
	play_close(&play);
}

static void
try_answer(const struct used *used, const struct row *row, bool slowly)
{
	static const char ask[] = "GET / HTTP/1.1\r\nHost: a" END;
	struct play play;
	bool good;

	play_open(&play, used->module, used->conf);
	play_say(&play, SY_CLIENT, ask, sizeof(ask) - 1);
	play_tell(&play, SY_SERVER, row->bytes, length_of(row), slowly);
	good = row->status ? play.closed && play.reason && status_of(&play) == row->status
	                   : !play.closed && play.ends == 1 && !play.spent;
	ok(good && !play.broken, "answer: %s: %s%s", row->name, row->status ? "refused" : "passes",
	   slowly ? ", byte by byte" : "");
	if (!good || play.broken)
		printf("# status %d, want %d; %u ends; %s; %s\n", status_of(&play), row->status, play.ends,
		       play.reason ? play.reason : "no reason", play.broken ? play.broken : "");
	play_close(&play);
}

/* An answer that nobody has asked for is not the answer to the next request, which has come already or comes
 * later; and the end is the same when the bytes come one by one. */
static void
try_unasked(const struct used *used, const char *authorization, bool ahead, bool slowly)
{
	static const char next[] = "GET /next HTTP/1.1\r\nHost: a" END;
	static const char said[] = "HTTP/1.1 200 OK\r\nContent-Length: 1" END "a"
	                           "HTTP/1.1 200 OK\r\nContent-Length: 6" END "poison";
	bool pinned = *authorization;
	struct play play;
	char ask[200];

	snprintf(ask, sizeof(ask), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n%s", authorization, ahead ? next : "");
	play_open(&play, used->module, used->conf);
	play_say(&play, SY_CLIENT, ask, strlen(ask));
	play_tell(&play, SY_SERVER, said, sizeof(said) - 1, slowly);
	if (!ahead)
		play_say(&play, SY_CLIENT, next, sizeof(next) - 1);
	ok(!play.broken && play.ends == 1 && play.pinned == pinned && play.closed == pinned &&
	   play.routes == (pinned ? 1 : 2) && !strstr(play.heard[SY_CLIENT], "poison"),
	   "an answer that nobody asked for, %s, %s%s", pinned ? "pinned" : "shared",
	   ahead ? "before a request that waits" : "before the next request", slowly ? ", byte by byte" : "");
	play_close(&play);
}

/* One byte less passes, one byte more does not. */
static void
try_limit(const struct used *used, const char *begin, size_t filling, const char *end, int status,
          const char *name)
{
	size_t len = strlen(begin) + filling + strlen(end);
	char *bytes = malloc(len + 1);
	struct row row = { name, status, bytes, len };

	memcpy(bytes, begin, strlen(begin));
	memset(bytes + strlen(begin), 'x', filling);
	memcpy(bytes + strlen(begin) + filling, end, strlen(end) + 1);
	try_request(used, &row, false);
	free(bytes);
}

static void
test_limits(const struct used *used)
{
	static char many[65536];
	size_t at = (size_t)sprintf(many, "GET / HTTP/1.1\r\nHost: a\r\n");
	struct row row = { "200 fields", 0, many, 0 };

	try_limit(used, "GET /", 16384 - 16, " HTTP/1.1\r\nHost: a" END, 0, "a first line of 16 KiB");
	try_limit(used, "GET /", 16384 - 15, " HTTP/1.1\r\nHost: a" END, 414, "a first line of a byte more");
	try_limit(used, "GET /", 100000, "", 414, "a first line without end");
	try_limit(used, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 65536 - 5, END, 0, "a field of 64 KiB");
	try_limit(used, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 65536 - 4, END, 431, "a field of a byte more");
	try_limit(used, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 70000, "", 431, "a field without end");
	for (unsigned i = 0; i < 199; i++)
		at += (size_t)sprintf(many + at, "X: y\r\n");
	strcpy(many + at, "\r\n");
	try_request(used, &row, false);
	strcpy(many + at, "X: y\r\n\r\n");
	row.name = "201 fields", row.status = 431;
	try_request(used, &row, false);
	at = (size_t)sprintf(many, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (unsigned i = 0; i < 150; i++)
		at += (size_t)sprintf(many + at, "X%u: %0400u\r\n", i, i);
	strcpy(many + at, "\r\n");
	row.name = "fields of 60 KiB together", row.status = 0;
	try_request(used, &row, false);
}

int
main(void)
{
	struct arena *arena = arena_new();
	struct used used = module_use(arena, SY_PROTOCOL, "http", "", NULL, 0);

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < sizeof(requests) / sizeof(requests[0]); k++)
			try_request(&used, &requests[k], i);
		for (unsigned k = 0; k < sizeof(answers) / sizeof(answers[0]); k++)
			try_answer(&used, &answers[k], i);
		for (unsigned k = 0; k < 4; k++)
			try_unasked(&used, k & 1 ? "Authorization: NTLM TlRMTVNTUAAB\r\n" : "", k & 2, i);
	}
	test_limits(&used);
	used.module->release(used.conf);
	arena_free(arena);
	return done_testing();
}
