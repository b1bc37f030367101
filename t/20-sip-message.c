/* The reader of SIP messages: RFC 4475's torture messages and our own, each with its verdict; every
 * message cut at each byte, and many in one piece. */
#include "tap.h"

#include "modules/protocol/sip/message.h"
#include "modules/protocol/sip/value.h"

enum { BODY_MOST = 1 << 20 };

#define LENGTH(n) "Content-Length: " #n "\r\n"
#define REST_OF(method) \
	"Max-Forwards: 70\r\nTo: sip:j.user@example.com\r\n" \
	"From: sip:caller@example.net;tag=98asjd8\r\nCall-ID: c@192.0.2.1\r\n" \
	"CSeq: 8 " method "\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKkdjuw\r\n"
#define OPTIONS_WITH(more) "OPTIONS sip:user@example.com SIP/2.0\r\n" REST_OF("OPTIONS") more "\r\n"

/* One row a message: what a stream makes of it, and what a datagram does. NULL: it is good; else a part
 * of the words. `body`: bytes that belong to it on the stream. Numbers are sections of RFC 4475. */
static const struct row {
	const char *name, *stream, *datagram;
	uint64_t body;
	const char *text;
} rows[] = {
	{ "3.1.1.1 a short tortuous INVITE", NULL, NULL, 150,
	  "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
	  "TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
	  "from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n"
	  "MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 150\r\n"
	  "cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
	  "s :\r\nNewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
	  "UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\n"
	  "Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
	  "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
	  " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
	  "m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n"
	  "  secondparam ; q = 0.33\r\n\r\n"
	  "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n"
	  "m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n" },
	{ "3.1.1.2 a wide range of characters", NULL, NULL, 0,
	  "!interesting-Method0123456789_*+`.%indeed'~ "
	  "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
	  "@example.com SIP/2.0\r\nVia: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\r\n"
	  "To: \"BEL:\\\x07 NUL:\\\x7f DEL:\\\x7f\" "
	  "<sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\r\n"
	  "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
	  ";fromParam''~+*_!.-%=\"\xd1\x80\xd0\xb0\xd0\xb1\";tag=_token~1'+`*%!-.\r\n"
	  "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\r\n"
	  "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\r\nMax-Forwards: 255\r\n"
	  "extensionHeader-!.%*+_`'~: \xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb\r\n"
	  LENGTH(0) "\r\n" },
	{ "3.1.1.3 escaped characters in URIs", NULL, NULL, 150,
	  "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\r\n"
	  "To: sip:%75se%72@example.com\r\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\r\n"
	  "Max-Forwards: 87\r\ni: esc01.239409asdfakjkn23onasd0-3234\r\nCSeq: 234234 INVITE\r\n"
	  "Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw\r\nC: application/sdp\r\n"
	  "Contact:\r\n <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\r\n"
	  "Content-Length: 150\r\n\r\n"
	  "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	  "m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n" },
	{ "3.1.1.4 escaped nulls in URIs", NULL, NULL, 0,
	  "REGISTER sip:example.com SIP/2.0\r\nTo: sip:null-%00-null@example.com\r\n"
	  "From: sip:null-%00-null@example.com;tag=839923423\r\nMax-Forwards: 70\r\n"
	  "Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd\r\nCSeq: 14398234 REGISTER\r\n"
	  "Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw\r\n"
	  "Contact: <sip:%00@host5.example.com>\r\nContact: <sip:%00%00@host5.example.com>\r\nL:0\r\n\r\n" },
	{ "3.1.1.5 percent signs that escape nothing", NULL, NULL, 0,
	  "RE%47IST%45R sip:registrar.example.com SIP/2.0\r\n"
	  "To: \"%Z%45\" <sip:resource@example.com>\r\n"
	  "From: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\r\n"
	  "Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\r\n"
	  "Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234\r\n"
	  "CSeq: 29344 RE%47IST%45R\r\nMax-Forwards: 70\r\n"
	  "Contact: <sip:alias1@host1.example.com>\r\nC%6Fntact: <sip:alias2@host2.example.com>\r\n"
	  "Contact: <sip:alias3@host3.example.com>\r\nl: 0\r\n\r\n" },
	{ "3.1.1.6 no blank between name and <", NULL, NULL, 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\n"
	  "From: caller<sip:caller@example.com>;tag=323\r\nMax-Forwards: 70\r\n"
	  "Call-ID: lwsdisp.1234abcd@funky.example.com\r\nCSeq: 60 OPTIONS\r\n"
	  "Via: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\r\nl: 0\r\n\r\n" },
	{ "3.1.1.8 extra bytes behind a request", NULL, NULL, 0,
	  "REGISTER sip:example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\n"
	  "From: sip:j.user@example.com;tag=43251j3j324\r\nMax-Forwards: 8\r\n"
	  "I: dblreq.0ha0isndaksdj99sdfafnl3lk233412\r\nContact: sip:j.user@host.example.com\r\n"
	  "CSeq: 8 REGISTER\r\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\r\n"
	  "Content-Length: 0\r\n\r\n\r\n"
	  "INVITE sip:joe@example.com SIP/2.0\r\nt: sip:joe@example.com\r\n" },
	{ "3.1.1.9 semicolons in the user part", NULL, NULL, 0,
	  "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\r\nTo: sip:j_user@example.com\r\n"
	  "From: sip:caller@example.org;tag=33242\r\nMax-Forwards: 3\r\n"
	  "Call-ID: semiuri.0ha0isndaksdj\r\nCSeq: 8 OPTIONS\r\nAccept: application/sdp\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw\r\nl: 0\r\n\r\n" },
	{ "3.1.1.10 unknown transports in Via", NULL, NULL, 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\n"
	  "From: <sip:caller@example.com>;tag=323\r\nMax-Forwards: 70\r\n"
	  "Call-ID: transports.kijh4akdnaqjkwendsasfdj\r\nAccept: application/sdp\r\n"
	  "CSeq: 60 OPTIONS\r\nVia: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\r\n"
	  "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\r\n"
	  "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\r\nl: 0\r\n\r\n" },
	{ "3.1.1.12 an unusual reason phrase", NULL, NULL, 0,
	  "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe \xd1\x81\xd1\x82\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\r\n"
	  "CSeq: 35 INVITE\r\nFrom: sip:user@example.com;tag=11141343\r\n"
	  "To: sip:user@example.edu;tag=2229\r\nContent-Length: 0\r\n"
	  "Contact: <sip:user@host198.example.com>\r\n\r\n" },
	{ "3.1.1.13 an empty reason phrase", NULL, NULL, 0,
	  "SIP/2.0 100 \r\nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\r\n"
	  "Call-ID: noreason.asndj203insdf99223ndf\r\nCSeq: 35 INVITE\r\n"
	  "From: <sip:user@example.com>;tag=39ansfi3\r\nTo: <sip:user@example.edu>;tag=902jndnke3\r\n"
	  "Content-Length: 0\r\nContact: <sip:user@host105.example.com>\r\n\r\n" },
	{ "3.1.2.1 separators without anything between", "a Via that cannot be read",
	  "a Via that cannot be read", 0,
	  "INVITE sip:user@example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\n"
	  "From: sip:caller@example.net;tag=134161461246\r\nMax-Forwards: 7\r\n"
	  "Call-ID: badinv01.0ha0isndaksdjasdf3234nas\r\nCSeq: 8 INVITE\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\nContact: \"Joe\" <sip:joe@example.org>;;;;\r\n"
	  LENGTH(0) "\r\n" },
	{ "3.1.2.2 Content-Length larger than the message", NULL, "ends within a message's body", 9999,
	  OPTIONS_WITH(LENGTH(9999)) "v=0\r\n" },
	{ "3.1.2.3 a negative Content-Length", "Content-Length that is no number",
	  "Content-Length that is no number", 0, OPTIONS_WITH("Content-Length: -999\r\n") },
	{ "3.1.2.4 numbers that are too large, in a request", "a CSeq that is not a number below 2^31",
	  "a CSeq that is not a number", 0,
	  "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bK342sdfoi3\r\n"
	  "To: <sip:user@example.com>\r\nFrom: <sip:user@example.com>;tag=239232jh3\r\n"
	  "CSeq: 36893488147419103232 REGISTER\r\nCall-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32\r\n"
	  "Max-Forwards: 300\r\nExpires: 10000000000000000000000000000000\r\n" LENGTH(0) "\r\n" },
	{ "3.1.2.4 Max-Forwards 300", "a Max-Forwards", "a Max-Forwards", 0,
	  "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK342\r\nTo: <sip:u@example.com>\r\n"
	  "From: <sip:user@example.com>;tag=2\r\nCSeq: 1 OPTIONS\r\nCall-ID: x\r\nMax-Forwards: 300\r\n"
	  LENGTH(0) "\r\n" },
	{ "3.1.2.5 numbers that are too large, in a response", "a CSeq that is not", "a CSeq that is not", 0,
	  "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bKzzxdiwo34sw\r\n"
	  "To: <sip:user@example.com>\r\nFrom: <sip:other@example.net>;tag=2easdjfejw\r\n"
	  "CSeq: 9292394834772304023312 OPTIONS\r\nCall-ID: scalarlg.noase0of0234hn2qofoaf0232aewf2394r\r\n"
	  "Retry-After: 949302838503028349304023988\r\n" LENGTH(0) "\r\n" },
	{ "3.1.2.6 a quote that is not closed", "a To that cannot be read", "a To that cannot be read", 0,
	  "INVITE sip:user@example.com SIP/2.0\r\nTo: \"Mr. J. User <sip:j.user@example.com>\r\n"
	  "From: sip:caller@example.net;tag=93334\r\nMax-Forwards: 10\r\nCall-ID: quotbal.aksdj\r\n"
	  "Contact: <sip:caller@host59.example.net>\r\nCSeq: 8 INVITE\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.59:5050;branch=z9hG4bKkdjuw39234\r\n" LENGTH(0) "\r\n" },
	{ "3.1.2.7 <> around the Request-URI", "whose URI is none", "whose URI is none", 0,
	  "INVITE <sip:user@example.com> SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.1.2.8 a blank in the Request-URI", "not METHOD, URI and SIP/2.0", "not METHOD, URI", 0,
	  "INVITE sip:user@example.com; lr SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.1.2.9 blanks between the parts of a request line", "not METHOD, URI", "not METHOD, URI", 0,
	  "INVITE  sip:user@example.com  SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.1.2.10 blanks at the end of a request line", "not METHOD, URI", "not METHOD, URI", 0,
	  "OPTIONS sip:remote-target@example.com SIP/2.0  \r\n" REST_OF("OPTIONS") LENGTH(0) "\r\n" },
	{ "3.1.2.11 header fields in the Request-URI: the server's to judge", NULL, NULL, 0,
	  "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0)
	  "\r\n" },
	{ "3.1.2.12 a Date that is not in GMT: the server's to judge", NULL, NULL, 0,
	  OPTIONS_WITH(LENGTH(0) "Date: Fri, 01 Jan 2010 16:00:00 EST\r\n") },
	{ "3.1.2.13 a Contact without brackets: the server's to judge", NULL, NULL, 0,
	  "REGISTER sip:example.com SIP/2.0\r\n" REST_OF("REGISTER")
	  "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\nl: 0\r\n\r\n" },
	{ "3.1.2.14 blanks within <>", NULL, NULL, 0,
	  "OPTIONS sip:user@example.org SIP/2.0\r\n"
	  "Via: SIP/2.0/UDP host4.example.com:5060;branch=z9hG4bKkdju43234\r\nMax-Forwards: 70\r\n"
	  "From: \"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=433423\r\n"
	  "To: \"Watson, Thomas\" < sip:t.watson@example.org >\r\nCall-ID: badaspec.sdf0234n2nds0a099u23h3\r\n"
	  "Accept: application/sdp\r\nCSeq: 3923239 OPTIONS\r\nl: 0\r\n\r\n" },
	{ "3.1.2.15 a comma in a name without quotes", NULL, NULL, 0,
	  "OPTIONS sip:t.watson@example.org SIP/2.0\r\n"
	  "Via: SIP/2.0/UDP c.example.com:5060;branch=z9hG4bKkdjuw\r\nMax-Forwards: 70\r\n"
	  "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\r\n"
	  "To: Watson, Thomas <sip:t.watson@example.org>\r\nCall-ID: baddn.31415@c.example.com\r\n"
	  "Accept: application/sdp\r\nCSeq: 3923239 OPTIONS\r\nl: 0\r\n\r\n" },
	{ "3.1.2.16 an unknown version", "a version other than SIP/2.0", "a version other than SIP/2.0", 0,
	  "OPTIONS sip:t.watson@example.org SIP/7.0\r\n" REST_OF("OPTIONS") LENGTH(0) "\r\n" },
	{ "3.1.2.17 CSeq with another method", "another method than the request", "another method", 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.1.2.18 the same, unknown method", "another method than the request", "another method", 0,
	  "NEWMETHOD sip:user@example.com SIP/2.0\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.1.2.19 a status of ten digits", "a status of three digits", "a status of three digits", 0,
	  "SIP/2.0 4294967301 better not break the receiver\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "3.2.1 a branch without anything behind the cookie", NULL, NULL, 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\n"
	  "From: sip:caller@example.org;tag=33242\r\nMax-Forwards: 3\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\r\nAccept: application/sdp\r\n"
	  "Call-ID: badbranch.sadonfo23i420jv0as0derf3j3n\r\nCSeq: 8 OPTIONS\r\nl: 0\r\n\r\n" },
	{ "3.3.1 fields that are missing", "without From", "without From", 0,
	  "INVITE sip:user@example.com SIP/2.0\r\nCSeq: 193942 INVITE\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\nl: 0\r\n\r\n" },
	{ "3.3.2 a URI of an unknown scheme", NULL, NULL, 0,
	  "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\r\n" REST_OF("OPTIONS") LENGTH(0) "\r\n" },
	{ "3.3.3 a URI of a known scheme that is not SIP's", NULL, NULL, 0,
	  "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\r\n" REST_OF("OPTIONS") LENGTH(0) "\r\n" },
	{ "3.3.5 Require that nobody knows: the server's to judge", NULL, NULL, 0,
	  OPTIONS_WITH(LENGTH(0) "Require: nothingSupportsThis\r\nProxy-Require: noProxiesSupportThis\r\n") },
	{ "3.3.8 fields twice that may stand once", "a field twice that may stand once",
	  "a field twice that may stand once", 0,
	  "INVITE sip:user@company.com SIP/2.0\r\nContact: <sip:caller@host25.example.net>\r\n"
	  "Via: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw\r\nMax-Forwards: 70\r\nCSeq: 5 INVITE\r\n"
	  "Call-ID: multi01.98asdh@192.0.2.1\r\nCSeq: 59 INVITE\r\nCall-ID: multi01.98asdh@192.0.2.2\r\n"
	  "From: sip:caller@example.com;tag=3413415\r\nTo: sip:user@example.com\r\n"
	  "To: sip:other@example.net\r\nFrom: sip:caller@example.net;tag=2923420123\r\n"
	  LENGTH(0) "Contact: <sip:caller@host36.example.net>\r\nMax-Forwards: 5\r\n\r\n" },
	{ "3.3.9 two Content-Length that differ", "two Content-Length that differ", "that differ", 0,
	  OPTIONS_WITH("Content-Length: 13\r\nContent-Length: 5\r\n") "There's no way to know how many octets" },
	{ "3.3.11 Max-Forwards 0: the server's to judge", NULL, NULL, 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\n"
	  "From: sip:caller@example.net;tag=3ghsd41\r\nCall-ID: zeromf.jfasdlfnm2o2l43r5u0asdfas\r\n"
	  "CSeq: 39234321 OPTIONS\r\nVia: SIP/2.0/UDP host1.example.com;branch=z9hG4bKkdjuw2349i\r\n"
	  "Max-Forwards: 0\r\n" LENGTH(0) "\r\n" },
	{ "3.3.15 a body that nobody can read", NULL, NULL, 4,
	  OPTIONS_WITH("Content-Type: application/unknownformat\r\n" LENGTH(4)) "<a/>" },
	{ "3.4.1 a request of RFC 2543", "without Content-Length", NULL, 0,
	  "INVITE sip:UserB@example.com SIP/2.0\r\nVia: SIP/2.0/UDP iftgw.example.com\r\n"
	  "From: <sip:+13035551111@ift.client.example.net;user=phone>\r\n"
	  "Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>\r\n"
	  "To: sip:+16505552222@ss1.example.net;user=phone\r\nCall-ID: inv2543.1717@ift.client.example.com\r\n"
	  "CSeq: 56 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n" },
	/* Ours. */
	{ "compact names throughout", NULL, NULL, 0,
	  "OPTIONS sip:u@example.com SIP/2.0\r\nv: SIP/2.0/TCP h;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\n"
	  "t: <sip:u@example.com>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n" },
	{ "lines that end with LF alone", "LF alone", "LF alone", 0,
	  "OPTIONS sip:user@example.com SIP/2.0\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\n\n" },
	{ "one line that ends with LF alone", "LF alone", "LF alone", 0,
	  "OPTIONS sip:user@example.com SIP/2.0\r\n" REST_OF("OPTIONS") "X: y\nContent-Length: 0\r\n\r\n" },
	{ "a CR within a line", "a CR without LF", "a CR without LF", 0, OPTIONS_WITH("X: a\rb\r\n" LENGTH(0)) },
	{ "two Content-Length that agree", NULL, NULL, 2,
	  OPTIONS_WITH(LENGTH(2) "l: 2\r\n") "ab" },
	{ "a Content-Length with a sign", "no number", "no number", 0, OPTIONS_WITH("Content-Length: +5\r\n") },
	{ "a Content-Length in hexadecimal", "no number", "no number", 0, OPTIONS_WITH("l: 0x10\r\n") },
	{ "a list in Content-Length", "no number", "no number", 0, OPTIONS_WITH("l: 5, 5\r\n") },
	{ "an empty Content-Length", "no number", "no number", 0, OPTIONS_WITH("l:\r\n") },
	{ "a Content-Length in a folded line", NULL, NULL, 3, OPTIONS_WITH("Content-Length:\r\n 3\r\n") "abc" },
	{ "a fold that would hide a second Content-Length", NULL, NULL, 0,
	  OPTIONS_WITH("X: y\r\n Content-Length: 7\r\nl: 0\r\n") },
	{ "a Content-Length beyond 2^32", "no number", "no number", 0,
	  OPTIONS_WITH("Content-Length: 4294967296\r\n") },
	{ "a Content-Length that wraps at 2^64", "no number", "no number", 0,
	  OPTIONS_WITH("Content-Length: 18446744073709551616\r\n") },
	{ "a body of 99999999 bytes", "a body longer than what is allowed", "ends within", 0,
	  OPTIONS_WITH("Content-Length: 99999999\r\n") },
	{ "no Content-Length", "without Content-Length", NULL, 0, OPTIONS_WITH("") },
	{ "no Via", "without Via", "without Via", 0,
	  "OPTIONS sip:u@example.com SIP/2.0\r\nf: <sip:a@b>;tag=1\r\nt: <sip:u@example.com>\r\ni: 1\r\n"
	  "CSeq: 1 OPTIONS\r\nl: 0\r\n\r\n" },
	{ "a line without colon", "a line that is no field", "a line that is no field", 0,
	  OPTIONS_WITH("Content-Length\r\n" LENGTH(0)) },
	{ "a blank within a name", "a line that is no field", "a line that is no field", 0,
	  OPTIONS_WITH("Content Length: 5\r\n" LENGTH(0)) },
	{ "a start line that is folded", "goes on in the next line", "goes on in the next line", 0,
	  "OPTIONS sip:u@example.com SIP/2.0\r\n X: y\r\n" REST_OF("OPTIONS") LENGTH(0) "\r\n" },
	{ "HTTP", "HTTP where SIP is expected", "HTTP where SIP is expected", 0,
	  "GET / HTTP/1.1\r\nHost: x\r\n\r\n" },
	{ "a ClientHello", "TLS where SIP in clear is expected", "TLS where", 0, "\x16\x03\x01\x02\x10\x01" },
	{ "bytes by chance", "not SIP", "not SIP", 0, "\x81\xc3\x0f\x99 AAAA\r\n\r\n" },
	{ "SSH", "a version other than SIP/2.0", "ends within", 0, "SSH-2.0-OpenSSH 1 2\r\n" },
	{ "a status of two digits", "a status of three digits", "a status", 0,
	  "SIP/2.0 20 OK\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "no blank behind the status", "a status of three digits", "a status", 0,
	  "SIP/2.0 200\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
	{ "status 700", "a status that is none", "a status that is none", 0,
	  "SIP/2.0 700 X\r\n" REST_OF("INVITE") LENGTH(0) "\r\n" },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* In memory that ends where the message ends, so that a sanitizer sees who reads on. */
static enum sip_read
read_stream(struct sip_scan *scan, const char *text, size_t len, struct sip_message *out)
{
	static char *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	return sip_read(scan, sy_span(copy, len), BODY_MOST, out);
}

static void
is_verdict(enum sip_read got, const struct sip_message *message, const char *want, const char *way,
           const struct row *row)
{
	if (!want)
		ok(got == SIP_MESSAGE, "%s: good as a %s%s%s", row->name, way, got == SIP_WRONG ? ", and not: " : "",
		   got == SIP_WRONG ? message->problem : "");
	else if (ok(got == SIP_WRONG, "%s: refused as a %s", row->name, way))
		has_str(message->problem, want, "%s: in words", row->name);
}

static void
test_rows(void)
{
	for (unsigned i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		struct sip_scan scan = { 0 };
		struct sip_message message;
		size_t len = strlen(row->text);
		enum sip_read got = read_stream(&scan, row->text, len, &message);

		/* What is never complete is for the timer; there is none of it here but SSH's. */
		if (got == SIP_MORE)
			got = sip_read_start(sy_span(row->text, len), &message);
		is_verdict(got, &message, row->stream, "stream", row);
		if (!row->stream)
			is_uint(message.body, row->body, "%s: length of the body", row->name);
		got = sip_read_datagram(sy_span(row->text, len), &message);
		is_verdict(got, &message, row->datagram, "datagram", row);
	}
}

/* Cut at each byte: first MORE, then the same verdict at the same place, whether what came before was
 * looked at or not. */
static void
test_cuts(void)
{
	unsigned differ = 0;

	for (unsigned i = 0; i < ROWS; i++) {
		struct sip_scan whole_scan = { 0 }, slow = { 0 };
		struct sip_message whole, message;
		size_t len = strlen(rows[i].text);
		enum sip_read want = read_stream(&whole_scan, rows[i].text, len, &whole), got = SIP_MORE;

		for (size_t cut = 0; cut <= len; cut++) {
			struct sip_scan at_once = { 0 };
			enum sip_read fresh = read_stream(&at_once, rows[i].text, cut, &message);

			got = read_stream(&slow, rows[i].text, cut, &message);
			if (got != fresh || (got != SIP_MORE && got != want) ||
			    (got == SIP_MESSAGE && (message.len != whole.len || message.body != whole.body || cut != whole.len)) ||
			    (got == SIP_WRONG && strcmp(message.problem, whole.problem) != 0)) {
				diag("%s differs when cut at %zu", rows[i].name, cut);
				differ++;
			}
			if (got != SIP_MORE)
				break;
		}
		differ += got != want;
	}
	is_uint(differ, 0, "cut at each byte, all %d messages are read as in one piece", ROWS);
}

/* All good ones in one piece, with keep-alives between: each is found, nothing is lost. */
static void
test_many(void)
{
	static char all[65536];
	struct sip_scan scan = { 0 };
	struct sip_message message;
	size_t len = 0, at = 0;
	unsigned put = 0, found = 0, blanks = 0;

	for (unsigned i = 0; i < ROWS; i++) {
		struct sip_scan one = { 0 };
		size_t size;

		if (rows[i].stream || rows[i].body > 1000 || strstr(rows[i].name, "extra bytes"))
			continue;
		if (sip_read(&one, sy_span_text(rows[i].text), BODY_MOST, &message) != SIP_MESSAGE)
			bail_out("%s is not good", rows[i].name);
		size = message.len + (size_t)message.body;
		memcpy(all + len, rows[i].text, size);
		len += size;
		memcpy(all + len, "\r\n\r\n", put % 3 ? 0 : 4);
		len += put++ % 3 ? 0 : 4;
	}
	while (at < len) {
		enum sip_read got = sip_read(&scan, sy_span(all + at, len - at), BODY_MOST, &message);

		if (got != SIP_MESSAGE && got != SIP_BLANK)
			break;
		found += got == SIP_MESSAGE;
		blanks += got == SIP_BLANK;
		at += message.len + (size_t)message.body;
	}
	is_uint(at, len, "%u messages in one piece are read to the end", put);
	is_uint(found, put, "each of them");
	is_uint(blanks, (put + 2) / 3, "and the keep-alives between");
}

static void
test_limits(void)
{
	static char text[3 * SIP_HEAD_MOST];
	struct sip_scan scan = { 0 };
	struct sip_message message;
	int len = snprintf(text, sizeof(text), "OPTIONS sip:%.*s", 1, "u");

	memset(text + len, 'a', SIP_START_MOST + 1);
	is_int(sip_read(&scan, sy_span(text, SIP_START_MOST + 5), BODY_MOST, &message), SIP_WRONG,
	       "a start line has 8 KiB");
	is_int(message.answer, 414, "and 414 says so");
	scan = (struct sip_scan){ 0 };
	len = snprintf(text, sizeof(text), "OPTIONS sip:u@h SIP/2.0\r\nX: ");
	memset(text + len, 'a', SIP_LINE_MOST + 1);
	is_int(sip_read(&scan, sy_span(text, (size_t)len + SIP_LINE_MOST), BODY_MOST, &message), SIP_WRONG,
	       "a line has 16 KiB");
	scan = (struct sip_scan){ 0 };
	len = snprintf(text, sizeof(text), "OPTIONS sip:u@h SIP/2.0\r\n");
	for (unsigned i = 0; i < SIP_FIELDS_MOST + 1; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "X: y\r\n");
	is_int(sip_read(&scan, sy_span(text, (size_t)len), BODY_MOST, &message), SIP_WRONG, "a head has 256 fields");
	has_str(message.problem, "256 fields", "in words");
	scan = (struct sip_scan){ 0 };
	len = snprintf(text, sizeof(text), "OPTIONS sip:u@h SIP/2.0\r\n");
	while (len < SIP_HEAD_MOST)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "X: %0*d\r\n", 1000, 1);
	is_int(sip_read(&scan, sy_span(text, SIP_HEAD_MOST - 1), BODY_MOST, &message), SIP_MORE, "below 64 KiB");
	is_int(sip_read(&scan, sy_span(text, SIP_HEAD_MOST), BODY_MOST, &message), SIP_WRONG, "a head has 64 KiB");
	scan = (struct sip_scan){ 0 };
	memset(text, 'A', SIP_METHOD_MOST + 1);
	is_int(sip_read(&scan, sy_span(text, SIP_METHOD_MOST + 1), BODY_MOST, &message), SIP_WRONG,
	       "a method has 64 bytes");
	scan = (struct sip_scan){ 0 };
	is_int(sip_read(&scan, sy_span("OPTIONS sip:u@h SIP/2.0\r\nX: a\0b\r\n", 34), BODY_MOST, &message), SIP_WRONG,
	       "a NUL in a head");
	scan = (struct sip_scan){ 0 };
	is_int(sip_read(&scan, sy_span("\r", 1), BODY_MOST, &message), SIP_MORE, "half an empty line");
	is_int(sip_read(&scan, sy_span("\r\n\r", 3), BODY_MOST, &message), SIP_BLANK, "one and a half");
	is_uint(message.len, 2, "are taken one by one");
	is_int(sip_read(&scan, sy_span("\rX", 2), BODY_MOST, &message), SIP_WRONG, "a CR and something else");
}

/* What the fields say. */
static void
test_values(void)
{
	static const struct { const char *uri, *aor, *host; } uris[] = {
		{ "sip:Alice@EXAMPLE.com:5061;transport=tls", "Alice@example.com", "EXAMPLE.com" },
		{ "sips:bob:secret@b.example", "bob@b.example", "b.example" },
		{ "sip:example.com", "example.com", "example.com" },
		{ "sip:user;par=u%40example.net@example.com", "user;par=u%40example.net@example.com", "example.com" },
		{ "sip:[2001:db8::9:1]:5060;lr", "2001:db8::9:1", "2001:db8::9:1" },
		{ "tel:+1-201-555-0123;ext=1", "+1-201-555-0123", "" },
		{ "urn:service:sos", "", "" },
	};
	struct sip_scan scan = { 0 };
	struct sip_message message;
	char aor[256];

	for (unsigned i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		struct sy_span host = sip_uri_host(sy_span_text(uris[i].uri));

		aor[sip_uri_aor(sy_span_text(uris[i].uri), aor, sizeof(aor) - 1)] = '\0';
		is_str(aor, uris[i].aor, "who is known by %s", uris[i].uri);
		ok(host.len == strlen(uris[i].host) && !memcmp(host.at, uris[i].host, host.len), "and its host");
	}
	is_int(sip_read(&scan, sy_span_text(rows[0].text), BODY_MOST, &message), SIP_MESSAGE, "the tortuous one");
	ok(message.branch.len == 9 && !memcmp(message.branch.at, "390skdjuw", 9), "its branch");
	ok(message.to_tag.len == 11 && !memcmp(message.to_tag.at, "1918181833n", 11), "its To tag");
	ok(message.from_tag.len == 7 && !memcmp(message.from_tag.at, "98asjd8", 7), "its From tag");
	is_uint(message.cseq, 9, "its CSeq");
	is_uint(message.max_forwards, 68, "its Max-Forwards");
	aor[sip_uri_aor(sip_uri(message.to), aor, sizeof(aor) - 1)] = '\0';
	is_str(aor, "vivekg@chair-dnrc.example.com", "whom it is for");
	ok(sip_parameter(message.contact, "q").len == 4, "a parameter behind folds");
}

/* For t/40-sip-proxy-torture.t: name and text of each, with a NUL behind. */
static int
print_rows(void)
{
	for (unsigned i = 0; i < ROWS; i++)
		printf("%s%c%s%c", rows[i].name, 0, rows[i].text, 0);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "rows") == 0)
		return print_rows();
	test_rows();
	test_cuts();
	test_many();
	test_limits();
	test_values();
	return done_testing();
}
