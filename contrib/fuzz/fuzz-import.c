/* The readers of other balancers' files: whatever is in them, no service is without a name that the
 * configuration takes, and every line of the report is counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/fuzz/fuzz.h"
#include "ctl/import.h"

/* The first byte chooses the reader. */
const char *const fuzz_seeds[] = {
	"hglobal\n maxconn 1\ndefaults\n mode http\n timeout client 5m\n option httpchk GET /x\n"
	"frontend a\n bind *:80,:443 ssl crt x\n default_backend b\nbackend b\n balance first\n"
	" stick on src\n default-server inter 2s\n server 's 1' 10.0.0.1:80 check weight 3 backup\n",
	"hdefaults x\n mode http\n timeout http-request 1s\ndefaults y from x\nfrontend f from y\n bind :80 ssl crt a crt b\n"
	" acl h hdr(host) -i a.b\n acl h hdr_dom(host) c\n acl p path_beg -i /x\n acl q path_reg ^/y\n"
	" use_backend b if h p or { path_end .z } || q\n use_backend c\nbackend b\n server s 1.2.3.4:80 check\n"
	" server t 1.2.3.5 backup\nbackend c\n source 1.2.3.9\n server s-1 1.2.3.4\n server \"s 1\" 1.2.3.4\nlisten o 1.2.3.4:5\n",
	"hlisten a b\\ c # d\n bind \"x\" \n server\n server a b@c\n",
	"l<?xml version='1.0'?><Response><Success><Data><VS><Index>1</Index><VSAddress>1.2.3.4</VSAddress>"
	"<VSPort>80</VSPort><ExtraPorts>1,2-3</ExtraPorts><Persist>cookie-src</Persist><CheckType>http"
	"</CheckType><Rs><Addr>::1</Addr></Rs><Rs/></VS><!-- --></Data></Success></Response>",
	"l<VS><VSAddress>1.2.3.4</VSAddress><VSPort>80</VSPort><AltAddress>::1</AltAddress><ExtraPorts>1;2</ExtraPorts>"
	"<ChkInterval>9</ChkInterval><LocalBindAddrs>1.2.3.5</LocalBindAddrs><Rs><Addr>1.2.3.4; x</Addr></Rs></VS>",
	"l<a b='c>'><![CDATA[x]]>&lt;&#x41;&#66;</a>", "l<a><b></a>", "l{\"VS\": [{\"VSAddress\": 1}, 2, null]}",
	NULL
};

static void
fuzz_must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz-import: broken promise: %s\n", what);
	abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct import import = { .file = "f" };
	char *text = malloc(size + 1);
	unsigned lines = 0;
	int result;

	fuzz_must(text != NULL, "memory");
	memcpy(text, data, size);
	text[size] = '\0';
	result = size == 0 ? 0 : text[0] == 'h' ? import_haproxy(&import, text + 1)
	       : import_loadmaster(&import, text + 1, size - 1);
	fuzz_must(result == 0 || import.problem.len, "who refuses says why");
	for (unsigned i = 0; i < import.n_services; i++) {
		const struct import_service *service = &import.services[i];

		fuzz_must(*service->name && strlen(service->name) <= IMPORT_NAME, "services have names");
		for (unsigned j = 0; j < service->n_servers; j++)
			fuzz_must(*service->servers[j].name != 0, "servers have names");
	}
	for (size_t i = 0; i < import.report.len; i++)
		lines += import.report.at[i] == '\n';
	fuzz_must(lines == import.lost, "the report is one line each");
	import_free(&import);
	free(text);
	return 0;
}
