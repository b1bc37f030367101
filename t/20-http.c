/* Protocol http, request by request: what servers and clients get to hear, where exchanges end, what is
 * pinned, what rules do. The core is played by http.h. */
#include "module.h"

#include "http.h"

#define END "\r\n\r\n"

static struct arena *arena;
static struct play play;

static void
begin(const char *settings)
{
	struct used used = module_use(arena, SY_PROTOCOL, "http", settings, NULL, 0);

	play_open(&play, used.module, used.conf);
}

/* settings stay compiled: what check() made is the process's. */
static void
end(void)
{
	if (play.broken)
		ok(false, "the module keeps its contract: %s", play.broken);
	play_close(&play);
}

static void
client(const char *text)
{
	play_say(&play, SY_CLIENT, text, strlen(text));
}

static void
server(const char *text)
{
	play_say(&play, SY_SERVER, text, strlen(text));
}

#define to_server() play.heard[SY_SERVER]
#define to_client() play.heard[SY_CLIENT]

static void
hears_not(const char *text, const char *part, const char *name)
{
	ok(!strstr(text, part), "%s", name);
	if (strstr(text, part))
		printf("# %s\n", text);
}

static void
test_keepalive(void)
{
	begin("forward off;");
	client("GET /a HTTP/1.1\r\nHost: Web.Example.net:8080\r\nX: y" END);
	is_str(play.facts, "GET web.example.net /a 0", "what the choice of a server is made by");
	is_str(to_server(), "GET /a HTTP/1.1\r\nHost: Web.Example.net:8080\r\nX: y" END, "the request");
	server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: s" END "abc");
	is_str(to_client(), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: s" END "abc", "its answer");
	is_uint(play.ends, 1, "the exchange is over");
	ok(!play.spent, "and the server's connection good for another");
	is_str(play.learnt, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: s" END, "persistence was shown it");
	play_forget(&play);
	client("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4" END "bo");
	client("dyGET /c HTTP/1.1\r\nHost: a" END);
	is_str(to_server(), "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4" END "body",
	       "the next one; what follows it waits");
	server("HTTP/1.1 204 No Content\r\nConnection: close" END);
	ok(play.spent, "a server that closes is told as spent");
	is_str(to_client(), "HTTP/1.1 204 No Content" END, "and the client's connection goes on");
	is_str(play.facts, "GET a /c 0", "with the one that waited");
	server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" END "3;x\r\nabc\r\n");
	server("2\r\nde\r");
	server("\n0\r\nX-Sum: 5\r\n\r");
	is_uint(play.ends, 2, "chunks are not over");
	server("\n");
	is_uint(play.ends, 3, "until they are");
	has_str(to_client(), "\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n", "and pass with their trailers");
	play_forget(&play);
	client("HEAD /d HTTP/1.1\r\nHost: a" END "GET /e HTTP/1.1\r\nHost: a\r\nConnection: close" END);
	server("HTTP/1.1 200 OK\r\nContent-Length: 1000" END);
	is_str(play.facts, "GET a /e 0", "HEAD has no body");
	server("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000" END);
	has_str(to_client(), "304 Not Modified\r\nContent-Length: 1000\r\nConnection: close" END, "304 has none");
	is_uint(play.ends, 5, "all five are over");
	ok(play.closed, "and the client that wanted no more is let go");
	end();
	/* A method is what it is to the letter (RFC 9110 9.1): what follows would be another one's answer. */
	begin("forward off;");
	client("head /d HTTP/1.1\r\nHost: a" END);
	server("HTTP/1.1 405 No\r\nContent-Length: 3" END);
	is_uint(play.ends, 0, "head is not HEAD: its answer has a body");
	server("abc");
	is_uint(play.ends, 1, "and is over with that");
	play_forget(&play);
	client("GET /e HTTP/1.1\r\nHost: a" END);
	server("HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 3" END "abc");
	has_str(to_client(), "\r\nContent-Length: 3" END "abc", "no server can have the length of its answer left out");
	end();
}

static void
test_old(void)
{
	begin("");
	client("GET / HTTP/1.0" END);
	has_str(to_server(), "GET / HTTP/1.1\r\nHost: 192.0.2.1:443\r\n", "HTTP/1.0 goes on as HTTP/1.1");
	server("HTTP/1.1 103 Early" END "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" END
	       "3\r\nabc\r\n0\r\nX: y" END);
	is_str(to_client(), "HTTP/1.1 200 OK\r\nConnection: close" END "abc",
	       "and its answer has neither chunks nor interim answers");
	ok(play.closed && play.ends == 1 && !play.spent, "the client is let go, the server is kept");
	end();
	begin("");
	client("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive" END);
	server("HTTP/1.0 200 OK\r\nContent-Length: 1" END "a");
	is_str(to_client(), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive" END "a",
	       "an old client that wants to stay, stays");
	ok(play.spent && !play.closed, "an old server does not");
	end();
	begin("");
	client("GET / HTTP/1.1\r\nHost: a" END);
	server("HTTP/1.1 200 OK" END "abc");
	server("def");
	play_leave(&play, SY_SERVER);
	is_str(to_client(), "HTTP/1.1 200 OK\r\nConnection: close" END "abcdef", "a body until the end");
	ok(play.closed, "ends the client's connection, too");
	end();
}

static void
test_hop(void)
{
	begin("");
	client("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, TE\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
	       "Proxy-Connection: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nY: 2\r\n"
	       "X_Under: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6" END);
	is_str(to_server(), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
	       "X-Forwarded-Host: a\r\nX-Forwarded-Port: 443\r\nY: 2\r\nTE: trailers\r\nConnection: TE" END,
	       "what is of one connection stays; what a client says of itself is not believed");
	server("HTTP/1.1 200 OK\r\nConnection: X-His\r\nX-His: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
	       "Content-Length: 0" END);
	is_str(to_client(), "HTTP/1.1 200 OK\r\nContent-Length: 0" END, "the same for answers");
	end();
	begin("forward both; trust 192.0.2.0/24; underscores pass;");
	client("GET / HTTP/1.1\r\nHost: a\r\nX_Under: 1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
	       "X-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1" END);
	is_str(to_server(), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\n"
	       "X-Forwarded-Host: a\r\nX-Forwarded-Port: 443\r\n"
	       "Forwarded: for=1.1.1.1, for=192.0.2.7;proto=http;host=\"a\"\r\nX_Under: 1\r\n"
	       "X-Forwarded-Proto: https" END, "a proxy that is trusted is continued");
	end();
}

static void
test_expect(void)
{
	begin("forward off;");
	client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue" END);
	has_str(to_server(), "Expect: 100-continue\r\n", "Expect is passed on");
	server("HTTP/1.1 100 Continue" END);
	is_str(to_client(), "HTTP/1.1 100 Continue" END, "and so is Continue");
	client("body");
	has_str(to_server(), "\r\n\r\nbody", "then the body");
	server("HTTP/1.1 200 OK\r\nContent-Length: 0" END);
	is_uint(play.ends, 1, "then the answer");
	play_forget(&play);
	client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue" END);
	server("HTTP/1.1 401 No\r\nContent-Length: 2" END "no");
	has_str(to_client(), "401 No", "an answer without Continue");
	is_uint(play.ends, 1, "the body still belongs to this request");
	client("bodyGET /x HTTP/1.1\r\nHost: a" END);
	is_uint(play.ends, 2, "the exchange is over with the body");
	is_str(play.facts, "GET a /x 0", "and what follows is the next request");
	server("HTTP/1.1 200 OK\r\nContent-Length: 0" END);
	play_forget(&play);
	client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4" END "b");
	server("HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close" END);
	play_leave(&play, SY_SERVER);
	ok(play.closed, "a server that answers and leaves takes the rest of the request with it");
	has_str(to_client(), "413 No", "after its answer");
	end();
}

static void
test_long(void)
{
	static char block[100000];

	memset(block, 'x', sizeof(block));
	begin("forward off;");
	client("RPC_IN_DATA /rpc/rpcproxy.dll?m:6001 HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824" END "in");
	ok(play.deadline_ms == 0, "RPC_IN_DATA may take its time");
	server("HTTP/1.1 200 Success\r\nContent-Length: 1073741824" END "out");
	has_str(to_client(), "1073741824\r\n\r\nout", "its answer begins before the request ends");
	play_forget(&play);
	client("more");
	server("much more");
	is_str(to_server(), "more", "both ways");
	is_str(to_client(), "much more", "at once");
	ok(play.pass[SY_CLIENT] > 1000000000 && play.pass[SY_SERVER] > 1000000000,
	   "without the module in between");
	end();
	begin("forward off; body-rate 1000;");
	client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000" END "x");
	is_uint(play.deadline_ms, 10000 + 16384, "a body must bring 16 KiB in time");
	play_say(&play, SY_CLIENT, block, sizeof(block));
	ok(play.deadline_ms > 10000 && play.deadline_ms < 10000 + 170000, "and so on");
	end();
	begin("forward off; body-limit 1m;");
	client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577" END);
	has_str(to_client(), "HTTP/1.1 413 ", "a body that is too long is refused");
	is_uint(play.routes, 0, "before a server is asked");
	end();
	begin("forward off; body-limit 1k;");
	client("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked" END "200\r\n");
	client("");
	play_say(&play, SY_CLIENT, block, 512);
	client("\r\n201\r\n");
	has_str(to_client(), "HTTP/1.1 413 ", "in chunks, too");
	end();
	begin("");
	client("GET / HT");
	is_uint(play.deadline_ms, 15000, "a head must be complete in time");
	ok(play.ops->fail(&play.session, SY_FAIL_CLIENT_LATE).what == SY_CLOSE, "and when it is not");
	end();
}

static void
test_upgrade(void)
{
	static const char ask[] = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
	                          "Upgrade: websocket\r\nSec-WebSocket-Key: x" END;

	begin("forward off;");
	client(ask);
	is_str(to_server(), "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
	       "Connection: Upgrade" END, "an upgrade is asked for");
	server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade" END "\x81\x01x");
	has_str(to_client(), "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade" END "\x81\x01x",
	        "and granted");
	ok(play.tunnel, "then all passes");
	client("\x81\x02yz");
	has_str(to_server(), "\x81\x02yz", "both ways");
	is_int(play.session.gauge[1], 1, "and is counted");
	end();
	begin("forward off;");
	client(ask);
	server("HTTP/1.1 200 OK\r\nContent-Length: 0" END);
	ok(!play.tunnel && play.ends == 1, "a server that does not want to answers as usual");
	end();
	begin("forward off; upgrade off;");
	client(ask);
	hears_not(to_server(), "Upgrade", "upgrade off: nobody asks for one");
	server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade" END);
	has_str(to_client(), "HTTP/1.1 502 ", "and a server that does it all the same is not believed");
	end();
}

static void
test_pin(void)
{
	begin("forward off;");
	client("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAABAAAA" END);
	ok(play.pinned, "NTLM in a request pins");
	server("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM TlRMTVNTUAACAAAA\r\nContent-Length: 0" END);
	play_forget(&play);
	client("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAADAAAA" END);
	server("HTTP/1.1 200 OK\r\nContent-Length: 0" END);
	ok(play.ends == 2 && !play.closed, "the exchanges end as others do");
	play_forget(&play);
	client("GET / HTTP/1.1\r\nHost: a" END);
	server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close" END);
	has_str(to_client(), "Connection: close", "who loses the server's connection is told to come again");
	ok(play.closed, "and is let go");
	end();
	begin("forward off;");
	client("GET / HTTP/1.1\r\nHost: a" END);
	ok(!play.pinned, "nothing is known");
	server("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x, y\"\r\nWWW-Authenticate: negotiate\r\n"
	       "Content-Length: 0" END);
	ok(play.pinned, "Negotiate in an answer pins, before the exchange ends");
	end();
	begin("forward off;");
	client("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic TlRMTVNTUAABAAAA" END);
	server("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"NTLM\", Bearer\r\nContent-Length: 0" END);
	ok(!play.pinned, "Basic and Bearer do not");
	end();
	begin("forward off; pin off;");
	client("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate YII" END);
	ok(!play.pinned, "pin off");
	end();
	begin("forward off; pin on;");
	client("GET / HTTP/1.1\r\nHost: a" END);
	ok(play.pinned, "pin on");
	end();
	begin("forward off;");
	client("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate YII" END);
	server("HTTP/1.1 200 OK\r\nContent-Length: 0" END "HTTP/1.1 200 OK\r\nContent-Length: 0" END);
	ok(play.closed && play.ends == 1, "an answer that nobody asked for ends a pinned connection");
	end();
}

static void
test_mark(void)
{
	begin("forward off; hsts 365d;");
	play.session.facts.secure = true;
	play.session.mark = sy_span_text("Set-Cookie: LB=s1\r\n");
	client("GET / HTTP/1.1\r\nHost: a" END);
	server("HTTP/1.1 103 Early" END "HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0" END);
	is_str(to_client(), "HTTP/1.1 103 Early" END "HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n"
	       "Strict-Transport-Security: max-age=31536000\r\nSet-Cookie: LB=s1" END,
	       "what persistence and hsts add, once");
	end();
}

static void
test_fail(void)
{
	static const struct { enum sy_failure what; const char *line; } rows[] = {
		{ SY_FAIL_REFUSED, "HTTP/1.1 503 Service Unavailable\r\n" },
		{ SY_FAIL_NO_SERVER, "HTTP/1.1 503 Service Unavailable\r\n" },
		{ SY_FAIL_CONNECT, "HTTP/1.1 503 Service Unavailable\r\n" },
		{ SY_FAIL_BROKEN, "HTTP/1.1 502 Bad Gateway\r\n" },
		{ SY_FAIL_LATE, "HTTP/1.1 504 Gateway Timeout\r\n" },
	};
	struct sy_verdict verdict;
	char text[4096];

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin("");
		client("GET / HTTP/1.1\r\nHost: a" END);
		verdict = play.ops->fail(&play.session, rows[i].what);
		snprintf(text, sizeof(text), "%.*s", (int)verdict.bytes.len, (const char *)verdict.bytes.at);
		has_str(text, rows[i].line, "%.20s", rows[i].line);
		has_str(text, "Connection: close\r\n\r\n<!doctype html>", "with a page");
		end();
	}
	begin("");
	client("HEAD / HTTP/1.1\r\nHost: a" END);
	verdict = play.ops->fail(&play.session, SY_FAIL_NO_SERVER);
	is_mem(verdict.bytes.at + verdict.bytes.len - 4, END, 4, "HEAD gets no page");
	end();
	begin("");
	verdict = play.ops->fail(&play.session, SY_FAIL_CLIENT_LATE);
	ok(verdict.what == SY_CLOSE && !verdict.bytes.len, "who has said nothing is told nothing");
	end();
}

/* ---- rules ---- */

static void
ask(const char *line, const char *fields)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s HTTP/1.1\r\n%s\r\n", line, fields);
	client(text);
}

static void
test_rules(void)
{
	begin("forward off;"
	      "rule { host *.deny.net; deny on; }"
	      "rule { path /old/*; redirect https://%host/new%target; redirect-status 301; }"
	      "rule { path ~^/id/([0-9]+)/(.*)$; rewrite ^/id/ /x/; redirect https://id-\\1.net/\\2; }"
	      "rule { path /health; answer 200; }"
	      "rule { method POST; header { name X-Kind; value !a* *b; } deny on; }"
	      "rule { cookie who root; query debug; deny on; }"
	      "rule { path /ews/*; rewrite ^/ews/(.*)$ /EWS/v2/\\1; set-host in.%host; request-header set X-A %client;"
	      " request-header remove X-B; request-header replace X-C ^a(.*)$ b\\1%%;"
	      " response-header set X-S %server; response-header remove Server; }"
	      "request-header add X-All %service; response-header replace Location ^http: https:;"
	      "redirect https://%host%target;");
	ask("GET /x", "Host: a.deny.net\r\n");
	has_str(to_client(), "HTTP/1.1 403 Forbidden\r\n", "deny by host");
	hears_not(to_client(), "Connection: close", "the connection goes on");
	play_forget(&play);
	ask("GET /x/%2e%2e/%6fld//a?b", "Host: WEB:80\r\n");
	has_str(to_client(), "HTTP/1.1 301 Moved Permanently\r\nLocation: https://web/new/x/%2e%2e/%6fld//a?b\r\n",
	        "a path is what it means, and a redirect what was said");
	play_forget(&play);
	ask("GET /id/12/rest", "Host: a\r\n");
	has_str(to_client(), "HTTP/1.1 302 Found\r\nLocation: https://id-12.net/rest\r\n", "what a pattern found");
	play_forget(&play);
	ask("GET /health", "Host: a\r\n");
	has_str(to_client(), "HTTP/1.1 200 OK\r\n", "an answer of our own");
	play_forget(&play);
	ask("POST /p", "Host: a\r\nX-Kind: bb\r\nContent-Length: 2\r\n");
	has_str(to_client(), "HTTP/1.1 403 Forbidden\r\n", "a header with words");
	ok(play.closed, "what has a body to come is let go after it");
	end();
	begin("rule { cookie who root; query debug; deny on; } rule { header X-No !*; deny on; }");
	ask("GET /?a=b&DEBUG=1", "Host: a\r\nCookie: x=y; who=root\r\nX-No: 1\r\n");
	has_str(to_client(), "HTTP/1.1 403 ", "cookie and query");
	play_forget(&play);
	ask("GET /?a=b", "Host: a\r\nCookie: x=y; who=root\r\n");
	has_str(to_client(), "HTTP/1.1 403 ", "a header that must not be there");
	play_forget(&play);
	ask("GET /?a=b", "Host: a\r\nCookie: x=y; who=root\r\nX-No: 1\r\n");
	is_uint(play.routes, 1, "all that is given must match");
	end();
	begin("forward off; rule { path /ews/*; rewrite ^/ews/(.*)$ /EWS/v2/\\1; set-host in.%host;"
	      " request-header set X-A %client; request-header remove X-B; request-header replace X-C ^a(.*)$ b\\1%%;"
	      " response-header set X-S %server; response-header remove Server; }"
	      "request-header add X-All %service; response-header replace Location ^http: https:;"
	      "redirect https://%host%target;");
	ask("GET /EWS/a?b=/ews/c", "Host: a\r\nX-A: 1\r\nX-B: 2\r\nX-C: abc\r\n");
	is_str(to_server(), "GET /EWS/v2/a?b=/ews/c HTTP/1.1\r\nHost: in.a\r\nX-A: 192.0.2.7\r\nX-C: bbc%\r\n"
	       "X-All: web" END, "paths and fields are changed");
	server("HTTP/1.1 302 Found\r\nServer: x\r\nLocation: http://a/\r\nContent-Length: 0" END);
	is_str(to_client(), "HTTP/1.1 302 Found\r\nX-S: s1\r\nLocation: https://a/\r\nContent-Length: 0" END,
	       "of answers, too");
	play_forget(&play);
	ask("GET /other", "Host: a\r\n");
	has_str(to_client(), "Location: https://a/other\r\n", "the rest is redirected");
	end();
}

/* What a rule forbids is forbidden however it is written. */
static void
test_rules_evaded(void)
{
	static const struct { const char *path, *host, *status; } rows[] = {
		{ "/admin/x", "a", "403" }, { "/admin%2fx", "a", "403" }, { "/admin%5Cx", "a", "403" },
		{ "/%61dmin%2Fx", "a", "403" }, { "//admin/./x", "a", "403" },
		{ "/public/..%2fadmin/x", "a", "400" }, { "/admin/x%2f..%2f..%2fpublic", "a", "400" },
		{ "/x", "in.example.net", "403" }, { "/x", "in.example.net.", "403" }, { "/x", "IN.example.net.:443", "403" },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[100], host[100];

		begin("rule { path /admin/*; deny on; } rule { host in.example.net; deny on; }");
		snprintf(line, sizeof(line), "GET %s", rows[i].path);
		snprintf(host, sizeof(host), "Host: %s\r\n", rows[i].host);
		ask(line, host);
		ok(strncmp(to_client(), "HTTP/1.1 ", 9) == 0 && strncmp(to_client() + 9, rows[i].status, 3) == 0,
		   "%s at %s: %s", rows[i].path, rows[i].host, rows[i].status);
		ok(play.routes == 0, "and no server hears of it");
		end();
	}
	begin("forward off; rule { path /admin/*; deny on; }");
	ask("GET /a/b%2fc", "Host: a.\r\n");
	is_str(play.facts, "GET a /a/b%2fc 0", "other paths and names go on");
	end();
	begin("forward off;");
	ask("GET /x/..%2fy", "Host: a.\r\n");
	is_str(to_server(), "GET /x/..%2fy HTTP/1.1\r\nHost: a." END, "as they were said");
	end();
}

static void
test_mistakes(void)
{
	static const struct { const char *settings, *words; } rows[] = {
		{ "rule { path ~(; deny on; }", "pattern" },
		{ "rule { path /x pool web; }", "no path is pool" },
		{ "rule { deny on; answer 200; }", "only one of deny, redirect and answer" },
		{ "redirect https://%hots/;", "there is no variable %hots" },
		{ "redirect https://%host/\\1;", "there is none here" },
		{ "request-header set Content-Length 5;", "cannot be changed" },
		{ "request-header set Host x;", "set-host" },
		{ "request-header replace X a;", "needs a pattern and a text" },
		{ "request-header set X;", "needs a value" },
		{ "head-limit 8k;", "head-limit" },
		{ "redirect-status 305;", "no redirect" },
		{ "rule { body /etc/hostname; }", "" },
	};
	char words[4096];

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		module_use(arena, SY_PROTOCOL, "http", rows[i].settings, words, sizeof(words));
		has_str(words, rows[i].words, "refused: %s", rows[i].settings);
		ok(*words, "in words");
	}
}

int
main(void)
{
	arena = arena_new();
	test_keepalive();
	test_old();
	test_hop();
	test_expect();
	test_long();
	test_upgrade();
	test_pin();
	test_mark();
	test_fail();
	test_rules();
	test_rules_evaded();
	test_mistakes();
	arena_free(arena);
	return done_testing();
}
